use super::*;

/// As nccl-tests print it, with lines of the scheduler and of NCCL in between.
const NCCL: &str = "\
SLURM_NTASKS=16
# nccl-tests version 2.17.9 nccl-headers=22903 nccl-library=22903
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 1024 maxBytes 4294967296 step: 2(factor) warmup iters: 1 iters: 20
#
# Using devices
#  Rank  0 Group  0 Pid    490 on node-a device  0 [0000:0f:00] NVIDIA A100-SXM4-40GB
#  Rank 15 Group  0 Pid    263 on node-b device  7 [0000:da:00] NVIDIA A100-SXM4-40GB
NCCL version 2.29.3+cuda13.1
#
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
           0             0     float     sum      -1    10.00    0.00    0.00     N/A    10.00    0.00    0.00     N/A
        1024           256     float     sum      -1    45.80    0.02    0.04       0    43.80    0.02    0.04       0
node-a:490:490 [0] NCCL INFO comm 0x5583 rank 0 nranks 16 - Init COMPLETE
  1073741824     268435456     float     sum      -1  10908.0   98.44  184.57       0  11220.1   95.70  179.43       0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 92.3
";

const OSU: &str = "\
# OSU MPI-CUDA Allreduce Latency Test v7.0
# Size       Avg Latency(us)   Min Latency(us)   Max Latency(us)  Iterations
4                      12.50             12.00             13.00        1000
[node-a:mpi_rank_0][dreg_register] [Performance Impact Warning]: Entries are being evicted
16777216             8630.58           8619.50           8642.46         10
";

fn rows(text: &str) -> Vec<Measured> {
    read(text.as_bytes(), Hints::default()).unwrap()
}

#[test]
fn nccl_tests_tell_collective_ranks_sizes_and_times() {
    let expected = [(1024.0, 45.8e-6), (1_073_741_824.0, 10_908e-6)];
    let found = rows(NCCL);
    assert_eq!(found.len(), 2);
    for (row, (bytes, time_s)) in found.iter().zip(expected) {
        assert_eq!((row.collective, row.ranks, row.bytes), (Collective::AllReduce, 16, bytes));
        assert!((row.time_s / time_s - 1.0).abs() < 1e-12);
    }
}

#[test]
fn runs_that_follow_each_other_in_a_file_keep_their_own_heads() {
    let other = NCCL.replace("all_reduce_perf", "alltoall_perf").replace("Rank 15", "Rank  7").replace("sum", "none");
    let found = rows(&format!("{NCCL}{other}"));
    let heads: Vec<_> = found.iter().map(|row| (row.collective, row.ranks)).collect();
    let (reduce, all) = ((Collective::AllReduce, 16), (Collective::AllToAll, 8));
    assert_eq!(heads, [reduce, reduce, all, all]);
}

#[test]
fn without_a_program_name_the_ratio_of_the_bandwidths_tells_an_all_reduce() {
    let old = NCCL.lines().filter(|line| !line.contains("starting") && !line.contains("1024  ")).collect::<Vec<_>>();
    assert_eq!(rows(&old.join("\n"))[0].collective, Collective::AllReduce);
    let unclear = old.join("\n").replace(" sum ", "none ");
    let error = read(unclear.as_bytes(), Hints::default()).unwrap_err();
    assert!(matches!(error, ImportError::Collective(_)), "{error}");
    let hints = Hints { collective: Some(Collective::AllGather), ranks: Some(8) };
    assert_eq!(read(unclear.as_bytes(), hints).unwrap()[0].ranks, 8);
}

#[test]
fn osu_needs_the_ranks_and_counts_bytes_by_destination() {
    assert_eq!(read(OSU.as_bytes(), Hints::default()), Err(ImportError::Ranks(3)));
    let hints = Hints { ranks: Some(4), ..Hints::default() };
    let reduce = read(OSU.as_bytes(), hints).unwrap();
    assert_eq!((reduce.len(), reduce[1].bytes), (2, 16_777_216.0));
    let all = OSU.replace("MPI-CUDA Allreduce", "MPI All-to-All Personalized Exchange");
    let all = read(all.as_bytes(), hints).unwrap();
    assert_eq!((all[1].collective, all[1].bytes), (Collective::AllToAll, 4.0 * 16_777_216.0));
    let send = rows(&OSU.replace("Allreduce ", ""));
    assert_eq!((send[0].collective, send[0].ranks), (Collective::Send, 2));
    let bandwidth = read(b"# OSU MPI Bandwidth Test v7.0\n4 5.0\n", hints);
    assert_eq!(bandwidth, Err(ImportError::Bandwidth(1)));
    let barrier = read(b"# OSU MPI Barrier Latency Test v7.0\n", hints);
    assert!(matches!(barrier, Err(ImportError::Unknown(1, _))), "{barrier:?}");
}

#[test]
fn json_of_nccl_tests_counts_a_process_s_devices() {
    let text = r#"{"version": 2, "args": ["/opt/nccl-tests/build/all_gather_perf", "-J", "x"], "env": [], "nccl_version": 22903,
        "config": {"nthreads": 1, "ngpus": 4, "devices": [{"rank": 0}, {"rank": 4}]},
        "results": [
            {"size": 4096, "count": 128, "type": "float", "out_of_place": {"time": 21.5, "alg_bw": 0.1, "bus_bw": 0.1, "nwrong": null}, "in_place": {"time": 20.0}},
            {"size": 8192, "count": 128, "out_of_place": null, "in_place": {"cpu_time": 22.0}}]}"#;
    let found = rows(text);
    let shown: Vec<_> = found.iter().map(|row| (row.collective, row.ranks, row.bytes)).collect();
    assert_eq!(shown, [(Collective::AllGather, 8, 4096.0), (Collective::AllGather, 8, 8192.0)]);
    assert!((found[1].time_s - 22e-6).abs() < 1e-15);
}

#[test]
fn what_cannot_be_is_refused_in_one_line() {
    let hints = Hints { ranks: Some(4), ..Hints::default() };
    for (text, told) in [
        ("", "no row"),
        ("{", "not JSON"),
        ("# OSU MPI Allreduce Latency Test v7\n4 NaN\n", "the time"),
        ("# OSU MPI Allreduce Latency Test v7\n4 -1\n", "the time"),
        ("# OSU MPI Allreduce Latency Test v7\n4 1e300\n", "the time"),
        ("# OSU MPI Allreduce Latency Test v7\n18446744073709551615 1.0\n", "the size"),
        ("# Collective test starting: hyper\u{1b}[2Jcube_perf\n", "the model has no"),
    ] {
        let error = read(text.as_bytes(), hints).unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains(char::is_control), "{text:?}: {error:?}");
    }
    let one = read(NCCL.as_bytes(), Hints { ranks: Some(1), ..Hints::default() }).unwrap_err();
    assert!(one.to_string().contains("number of ranks"));
}
