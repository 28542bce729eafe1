# First process of a simulated guest. It runs as the host's shell, in fresh user, mount, process, host name and IPC
# namespaces; after pivot_root nothing of the host's file system is reachable any more.
#
#   $1 kind of guest (vm, container)   $2 state directory   $3 mount point, relative to it
#   vm:        $4 options of its overlay
#   container: $4 root directory       $5 mounts, "directory path" a line   $6 host name   $7 resolver configuration
#              then lines of its inittab, as "action command"
#
# Standard input is the lifeline: when the simulator closes it, or dies, this process ends and the kernel ends the rest.
set -eu
exec 3<&0 </dev/null
kind=$1 state=$2 root=$3 source=$4
shift 4
cd "$state"
mkdir -p "$root"
# The old call: the new one takes 256 characters of options at most.
export LIBMOUNT_FORCE_MOUNT2=always
case $kind in
vm) mount -t overlay guest -o "$source" "$root" ;;
container)
    mount --bind "$source" "$root"
    mounts=$1 name=$2 resolver=$3
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
# The old /proc still numbers processes as the simulator does.
read -r number _ </proc/self/stat
mkdir -p proc dev run tmp
mount -t proc -o nosuid,nodev,noexec proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
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
if [ "$kind" = vm ]; then
    mount -t tmpfs -o mode=755,nosuid,nodev run run
    mount -t tmpfs -o mode=1777,nosuid,nodev tmp tmp
fi
# The old root now lies over the new one. The simulator takes it away from outside: in here only the guest's own
# programs can be started from now on.
pivot_root . .
echo "pivoted $number"
read -r _ <&3
cd /
unset LIBMOUNT_FORCE_MOUNT2
if [ "$kind" = container ]; then
    # What PVE writes into a container that it takes for Alpine's. From in here no link of its leads to the host.
    [ -d etc/network ] || mkdir -p etc/network
    echo "$name" >etc/hostname
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >etc/hosts
    echo "$resolver" >etc/resolv.conf
    printf 'auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n\thostname $(hostname)\n' >etc/network/interfaces
fi
echo running
for line; do
    command=${line#* }
    # Unquoted on purpose: a line of an inittab is words.
    case $line in
    sysinit\ *) (exec 3<&-; $command) || echo "$command: failed" ;;
    respawn\ *) (exec 3<&-; while :; do $command || :; sleep 1 || exit; done) & ;;
    esac
done
(while read -r _; do :; done) <&3 &
exec 3<&-
wait $! || :
