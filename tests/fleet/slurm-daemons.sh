# Slurm on loopback without systemd, for the scripts beside it: install_slurm, start_slurm FOLDER, stop_slurm. A single node has
# as many CPUs as the machine, at least $SLURM_TEST_CPUS. SLURM_CONF names the configuration to every command.

# Installs what lacks, where that is possible.
install_slurm() {
    missing=
    for pair in slurmctld:slurmctld slurmd:slurmd munged:munge sbatch:slurm-client parallel:parallel bc:bc; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || [ -x "/usr/sbin/${pair%%:*}" ] || missing="$missing ${pair#*:}"
    done
    python3 -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1 || [ "$(id -u)" != 0 ]; then
        echo "Install$missing first (this needs root, and installs by itself on Debian and Ubuntu)." >&2
        return 1
    fi
    echo "installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
}

# munged, slurmctld and slurmd with all their files in FOLDER.
start_slurm() {
    slurm=$1
    daemons=
    PATH=$PATH:/usr/sbin
    mkdir -p "$slurm/munge" "$slurm/state" "$slurm/spool"
    chmod 755 "$slurm" "$slurm/munge"
    dd if=/dev/urandom of="$slurm/munge/key" bs=128 count=1 2>/dev/null
    chmod 400 "$slurm/munge/key"
    munged --foreground --force --key-file="$slurm/munge/key" --socket="$slurm/munge/socket" --pid-file="$slurm/munge/pid" \
        --log-file="$slurm/munge/log" --seed-file="$slurm/munge/seed" >/dev/null 2>&1 &
    daemons="$!"
    node=$(hostname -s)
    cpus=$(nproc)
    [ "$cpus" -ge "${SLURM_TEST_CPUS:-1}" ] || cpus=$SLURM_TEST_CPUS
    cat >"$slurm/slurm.conf" <<CONF
ClusterName=loopback
SlurmctldHost=$node(127.0.0.1)
SlurmctldPort=17817
SlurmdPort=17818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$slurm/munge/socket
StateSaveLocation=$slurm/state
SlurmdSpoolDir=$slurm/spool
SlurmctldPidFile=$slurm/slurmctld.pid
SlurmdPidFile=$slurm/slurmd.pid
SlurmctldLogFile=$slurm/slurmctld.log
SlurmdLogFile=$slurm/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
MailProg=/bin/true
MpiDefault=none
SlurmdParameters=config_overrides
NodeName=$node NodeAddr=127.0.0.1 CPUs=$cpus State=UNKNOWN
PartitionName=all Nodes=$node Default=YES MaxTime=INFINITE State=UP
CONF
    export SLURM_CONF="$slurm/slurm.conf"
    # No control groups are used, and yet slurmd must know which version it does not use.
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
        printf 'CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n' >"$slurm/cgroup.conf"
    else
        echo 'CgroupPlugin=cgroup/v1' >"$slurm/cgroup.conf"
    fi
    until_there "$slurm/munge/socket"
    slurmctld -D >/dev/null 2>&1 &
    daemons="$! $daemons"
    slurmd -D >/dev/null 2>&1 &
    daemons="$! $daemons"
    for _ in $(seq 60); do
        if [ "$(sinfo --noheader --format=%T 2>/dev/null)" = idle ]; then return 0; fi
        sleep 0.5
    done
    echo "Slurm does not come up:" >&2
    tail -n 5 "$slurm/slurmctld.log" "$slurm/slurmd.log" >&2
    return 1
}

until_there() {
    for _ in $(seq 40); do
        [ ! -e "$1" ] || return 0
        sleep 0.25
    done
    echo "$1 does not appear" >&2
    return 1
}

# Ends jobs and daemons: the last that was started first.
stop_slurm() {
    [ -n "${daemons:-}" ] || return 0
    scancel --state=RUNNING --state=PENDING --user="$(id -un)" 2>/dev/null || true
    for process in $daemons; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
    daemons=
}
