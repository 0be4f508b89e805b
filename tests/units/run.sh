#!/usr/bin/env bash
# The units under a real systemd, on a bare Debian without Rust. What README.md says of the first
# minutes, of an upgrade and of removal is run as it stands there.
#
# usage: tests/units/run.sh nspawn|vm BINARY
#
# nspawn: two containers that share a network of their own, the second of which joins the first.
# vm: one virtual machine without KVM, where everything that a unit asks for is enforced: reboots,
# the kernel's own records, a flood of lines. Both need root and build their root folder with
# debootstrap, once, in UNITS_DIR (default target/units); where they cannot run, they say why and
# succeed. Nothing is left mounted or running. OLD=FILE is the program that the upgrade begins with.
set -euo pipefail

MODE=${1:?usage: tests/units/run.sh nspawn|vm BINARY}
BINARY=${2:?usage: tests/units/run.sh nspawn|vm BINARY}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
UNITS_DIR=${UNITS_DIR:-$HERE/../../target/units}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
SUITE=${SUITE:-bookworm}
NSPAWN_SECONDS=420
# Without KVM a virtual machine is twenty times slower than the machine that it runs on.
VM_SECONDS=3600
VM_BOOTS=4
VM_DISK=2G
VM_MEMORY=1536

# block HEADING NUMBER [LANGUAGE]: of what stands in README.md between a heading and the next, the
# block of that number in that language, the shell's as a rule.
block() {
  awk -v heading="$1" -v number="$2" -v fence="^\`\`\`${3:-sh}" '
    $0 == heading { on = 1; next }
    on && /^##/ { exit }
    inside && /^```/ { exit }
    inside { print }
    on && $0 ~ fence && ++count == number { inside = 1 }' "$HERE/../../README.md"
}

skip() { printf 'units: skipped: %s\n' "$1"; exit 0; }
fail() { printf 'units: %s\n' "$1" >&2; exit 1; }

[[ $(id -u) = 0 ]] || skip "needs root"
case $MODE in
  nspawn) tools='debootstrap systemd-nspawn unshare ip pkill' ;;
  vm) tools='debootstrap qemu-system-x86_64 mkfs.ext4 debugfs pkill' ;;
  *) fail "$MODE is neither nspawn nor vm" ;;
esac
for tool in $tools; do
  command -v "$tool" >/dev/null || skip "needs $tool"
done
[[ -x $BINARY ]] || fail "$BINARY is no program; run make build first"

# The containers' own network and processes: who ends the first of these ends all.
OWN=(--net --mount --propagation private --pid --fork --kill-child --mount-proc)
if [[ $MODE = nspawn ]]; then
  [[ -w /dev/kmsg ]] || skip "needs /dev/kmsg"
  refusal=$(unshare "${OWN[@]}" true 2>&1) || skip "no container can be started here: $refusal"
fi

mkdir -p "$UNITS_DIR"
UNITS_DIR=$(cd "$UNITS_DIR" && pwd)
base=$UNITS_DIR/$MODE-$SUITE
packages=systemd,systemd-sysv,dbus,libpam-systemd
[[ $MODE = nspawn ]] || packages+=,kmod,linux-image-cloud-amd64
if [[ ! -d $base ]]; then
  printf 'units: building %s, once\n' "$base"
  rm -rf "$base.new"
  debootstrap --variant=minbase --include="$packages" "$SUITE" "$base.new" "$MIRROR" \
    >"$base.log" 2>&1 || skip "debootstrap cannot build a root: $(tail -1 "$base.log")"
  rm -rf "$base.new/var/cache/apt/archives"
  mv "$base.new" "$base"
fi

work=$(mktemp -d "$UNITS_DIR/run.XXXXXX")
running=''
finish() {
  local code=$?
  trap - EXIT
  if [[ -n $running ]]; then
    pkill -KILL --parent "$running" || true
    wait "$running" || true
  fi
  # What nspawn leaves of its cgroups is empty by now.
  find /sys/fs/cgroup -depth -type d -path "*/units-${work##*/}-*" -exec rmdir {} \; 2>/dev/null ||
    true
  rm -rf "$work"
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# A root folder whose one task is the checks.
root_for() {
  local root=$work/$1 role=$2
  cp -a "$base" "$root"
  rm -f "$root/etc/machine-id" "$root/etc/resolv.conf"
  touch "$root/etc/machine-id"
  echo "$1" >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 %s.example.org %s\n' "$1" "$1" >"$root/etc/hosts"
  # Both have one network, and the collector listens on all of it.
  [[ $role = collector ]] || echo '127.0.0.1 collector.example.org' >>"$root/etc/hosts"
  mkdir -p "$root/units"
  mkdir "$root/units/first" "$root/units/new"
  install -m 0755 "${OLD:-$BINARY}" "$root/units/first/tasseograph"
  install -m 0755 "$BINARY" "$root/units/new/tasseograph"
  local program refusal
  for program in first new; do
    refusal=$(chroot "$root" "/units/$program/tasseograph" --version 2>&1) ||
      fail "the program does not run on $SUITE: $refusal; make build-linux makes one that does"
  done
  block '### One host' 1 >"$root/units/one-host.sh"
  block '### One host' 2 >"$root/units/report.sh"
  block '### Another host' 1 >"$root/units/another-host.sh"
  block '## Upgrade and removal' 1 >"$root/units/upgrade.sh"
  block '### Another key' 1 >"$root/units/another-key.sh"
  block '### Another key' 2 >"$root/units/one-key.sh"
  block '### Another certificate' 1 >"$root/units/another-certificate.sh"
  block '### Another certificate' 1 ini >"$root/units/key-elsewhere.conf"
  block '### A model' 1 >"$root/units/model.sh"
  block '## Upgrade and removal' 3 >"$root/units/remove.sh"
  for script in "$root"/units/*.sh "$root"/units/*.conf; do
    [[ -s $script ]] || fail "README.md lacks the commands of $(basename "$script")"
  done
  install -m 0755 "$HERE/inside.sh" "$root/units/inside.sh"
  printf 'ROLE=%s\nMODE=%s\nRUN=%s\n' "$role" "$MODE" "${work##*.}" >"$root/units/settings"
  cat >"$root/etc/systemd/system/units.service" <<'UNIT'
[Unit]
Description=checks of the units
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/units/inside.sh
StandardOutput=append:/units/log
StandardError=append:/units/log
UNIT
  # After multi-user.target, which must not wait for it: by a timer.
  cat >"$root/etc/systemd/system/units.timer" <<'TIMER'
[Timer]
OnBootSec=1
AccuracySec=100ms
[Install]
WantedBy=timers.target
TIMER
  mkdir -p "$root/etc/systemd/system/timers.target.wants"
  ln -s ../units.timer "$root/etc/systemd/system/timers.target.wants/units.timer"
  for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
    fstrim.timer systemd-networkd-wait-online.service; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
  done
}

verdict() {
  local log=$1
  cat "$log"
  grep -q '^units: all .* hold$' "$log" || fail "not everything holds; the whole of it is above"
}

# The two share a network of their own, so that their port is nobody's else.
in_containers() {
  root_for collector collector
  root_for web-1 agent
  mkdir "$work/shared"
  export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_NSPAWN_LOCK=0
  # Each has a control group of its own: below one, the two would manage each other's units.
  # shellcheck disable=SC2016 # for the shell inside
  unshare "${OWN[@]}" -- bash -c '
    set -u
    work=$1 seconds=$2
    ip link set lo up
    start() {
      for tree in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
        [ -e "$tree/cgroup.procs" ] || continue
        mkdir "$tree/units-${work##*/}-$1" && echo $BASHPID >"$tree/units-${work##*/}-$1/cgroup.procs"
      done
      exec timeout --kill-after=20 "$seconds" systemd-nspawn --register=no --keep-unit --quiet \
        -D "$work/$name" -M "units-$name" --hostname="$name" --boot --console=passive \
        --capability=CAP_SYSLOG --bind=/dev/kmsg --bind="$work/shared:/shared" \
        </dev/null >"$work/$name.console" 2>&1
    }
    for name in collector web-1; do start "$name" & done
    wait
  ' units "$work" "$NSPAWN_SECONDS" &
  running=$!
  wait "$running"
  running=''
  [[ -s $work/collector/units/log ]] ||
    skip "systemd does not start in a container here: $(tail -1 "$work/collector.console")"
  printf 'units: the other host:\n'
  cat "$work/web-1/units/log" 2>/dev/null || true
  verdict "$work/collector/units/log"
}

# Runs until the checks have put a result on the disk; each reboot is a new run on the same disk.
in_a_machine() {
  local kernel initrd boot
  root_for collector collector
  kernel=$(echo "$work"/collector/boot/vmlinuz-*)
  initrd=$(echo "$work"/collector/boot/initrd.img-*)
  cp "$kernel" "$work/vmlinuz"
  cp "$initrd" "$work/initrd"
  mkfs.ext4 -q -d "$work/collector" "$work/disk" "$VM_DISK"
  rm -rf "$work/collector"
  for ((boot = 1; boot <= VM_BOOTS; boot++)); do
    printf 'units: boot %s at %s s\n' "$boot" "$SECONDS"
    timeout --kill-after=20 "$VM_SECONDS" qemu-system-x86_64 -machine q35,accel=tcg -cpu max \
      -smp 2 -m "$VM_MEMORY" -nographic -no-reboot -nic none \
      -drive "file=$work/disk,format=raw,if=virtio,cache=unsafe" \
      -kernel "$work/vmlinuz" -initrd "$work/initrd" \
      -append "root=/dev/vda rw console=ttyS0 quiet printk.devkmsg=on net.ifnames=0" \
      </dev/null >"$work/console.$boot" 2>&1 &
    running=$!
    wait "$running" || true
    running=''
    debugfs -R "cat /units/log" "$work/disk" >"$work/log" 2>/dev/null || true
    ! grep -q '^units: .*\(hold\|do not\)$' "$work/log" || break
  done
  if [[ ! -s $work/log ]]; then
    tail -20 "$work/console.1"
    fail "the machine did not come so far as to begin"
  fi
  verdict "$work/log"
}

if [[ $MODE = nspawn ]]; then in_containers; else in_a_machine; fi
