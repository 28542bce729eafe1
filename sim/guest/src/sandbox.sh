# First process of a simulated guest. It runs in the host's shell, in new user, mount, process, host name and IPC
# namespaces. After pivot_root, the host's file system cannot be reached.
#
#   $1 kind of guest (vm, container)   $2 state directory   $3 mount point, relative to it
#   vm:        $4 options of its overlay
#   container: $4 root directory       $5 mounts, "directory path" a line   $6 host name   $7 number of terminals
#
# Standard input is the lifeline. When the simulator closes it or ends, this process ends, and the kernel ends the rest.
# A container's init, which replaces this process, does not read it, so the simulator has a watcher for containers.
set -eu
exec 3<&0 </dev/null
kind=$1 state=$2 root=$3 source=$4
shift 4
cd "$state"
mkdir -p "$root"
# This uses the old system call, because the new one accepts at most 256 characters of options.
export LIBMOUNT_FORCE_MOUNT2=always
case $kind in
vm) mount -t overlay guest -o "$source" "$root" ;;
container)
    mount --bind "$source" "$root"
    mounts=$1 name=$2 terminals=$3
    shift 3
    hostname "$name"
    echo "$mounts" | while read -r directory path; do
        [ -n "$directory" ] || continue
        mkdir -p "$root/$path"
        mount --bind "$directory" "$root/$path"
    done
    ;;
esac
cd "$root"
# The old /proc still has the process numbers of the simulator.
read -r number _ </proc/self/stat
mkdir -p proc dev run tmp
mount -t proc -o nosuid,nodev,noexec proc proc
# A container may change the settings of its own network. As in LXC, proc/tty keeps a writable mount of them while the
# rest becomes read-only.
[ "$kind" = vm ] || mount --bind proc/sys/net proc/tty
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
[ "$kind" = vm ] || mount --no-mtab --move proc/tty proc/sys/net
mount -t tmpfs -o mode=755,nosuid,size=64k dev dev
for device in null zero full random urandom tty; do
    : >dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mount -t tmpfs -o mode=1777,nosuid,nodev shm dev/shm
if [ "$kind" = container ]; then
    # The simulator opens these pseudo-terminals before init runs; the kernel numbers them from 0.
    while [ "$terminals" -gt 0 ]; do
        ln -s "pts/$((terminals - 1))" "dev/tty$terminals"
        terminals=$((terminals - 1))
    done
fi
if [ "$kind" = vm ]; then
    mount -t tmpfs -o mode=755,nosuid,nodev run run
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp
fi
# The old root now covers the new one. The simulator unmounts it from outside, because only the guest's own programs can
# be started here from now on.
pivot_root . .
echo "pivoted $number"
read -r _ <&3
cd /
unset LIBMOUNT_FORCE_MOUNT2
if [ "$kind" = container ] && [ ! -x /sbin/init ]; then
    echo "the container has no /sbin/init" >&2
    exit 1
fi
echo running
if [ "$kind" = container ]; then
    unset HOME SHELL USER
    export container=lxc
    exec /sbin/init 3<&-
fi
(while read -r _; do :; done) <&3 &
exec 3<&-
wait $! || :
