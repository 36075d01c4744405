#!/bin/sh
# Four ranks of `supernode fleet` by srun, inside a Slurm that slurm.sh has started, over whichever of PMIx and PMI-2 it has.
set -eu
kinds=$(srun --mpi=list 2>&1)
for kind in pmix pmi2; do
    case "$kinds" in *"$kind"*) ;; *) continue ;; esac
    rm -rf by-srun.json by-srun.ranks
    if srun --mpi="$kind" --ntasks=4 --oversubscribe --overcommit supernode fleet --preset smoke \
        --only attention/mla_decode/best/f32 --share-devices --no-alone --largest-message 65536 \
        --resume -o by-srun.json; then
        supernode schema --check by-srun.json
        echo "slurm: four ranks by srun --mpi=$kind"
        exit 0
    fi
    echo "slurm: srun --mpi=$kind did not run four ranks" >&2
done
exit 1
