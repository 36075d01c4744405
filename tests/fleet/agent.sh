#!/bin/sh
# How mpirun starts its daemon on another computer of the shaped network: in the namespace of that address, under a name of
# its own. Called with the address, then the command.
address=$1; shift
name=fleet${address##*.}
exec ip netns exec "$name" unshare --uts sh -c "hostname $name; exec $*"
