#!/usr/bin/env bash
# The Debian package through its whole life in a container: installed, started, upgraded without
# loss, removed, installed again, purged without a trace.
#
# usage: tests/dist/deb.sh PACKAGE [ROOT]
#
# ROOT is a folder with Debian and systemd, which is copied; without one, debootstrap makes it. The
# package's last version is made from PACKAGE itself, with another number and another agent.yaml.
# Needs root, systemd-nspawn, debootstrap; lintian where it is installed. What cannot be
# tried here is said. Its lines go into this machine's kernel log.
set -euo pipefail
package=$(realpath "${1:?usage: tests/dist/deb.sh PACKAGE [ROOT]}")
readme=$(dirname "${BASH_SOURCE[0]}")/../../README.md
made=${2:-}
WAIT_SECONDS=90
LINES_EACH=50
PLACES='/bin /boot /etc /home /lib /opt /root /sbin /srv /usr /var'

passed=0 folder='' nspawn='' leader=''
mark="tasseograph-deb-$$"

pass() { printf 'ok: %s\n' "$1"; passed=$((passed + 1)); }
skip() { printf 'skipped: %s\n%s passed, 0 failed, 1 skipped\n' "$1" "$passed"; exit 0; }
fail() {
  printf 'deb: %s\n' "$1" >&2
  [[ -z $leader ]] || inside journalctl --no-pager -n 30 -u 'tasseograph-*' >&2 || true
  exit 1
}
inside() { nsenter -t "$leader" -m -u -i -n -p -C -- "$@"; }
# as_readme LOG BEGINNING: README.md's one line that begins so, in the container, where the package
# lies.
as_readme() {
  local line
  line=$(grep "^$2" "$readme") || fail "README.md has no line: $2"
  # shellcheck disable=SC2016 # for the shell inside
  inside sh -c 'cd /packages/new && sudo() { "$@"; } && eval "$1"' sh "$line" </dev/null >"$1" 2>&1
}
# until_so WHAT COMMAND...: asks until it succeeds.
until_so() {
  local what=$1 end=$((SECONDS + WAIT_SECONDS))
  shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || fail "waited too long: $what"
    sleep 0.2
  done
}
number() { inside tasseograph report --query "$1" | sed -n 3p; }
is_number() { [[ $(number "$1") == "$2" ]]; }
# write_lines FROM: LINES_EACH records of ours, from this number on.
write_lines() {
  local at
  for ((at = $1; at < $1 + LINES_EACH; at++)); do
    printf '<12>%s %s\n' "$mark" "$at" >/dev/kmsg
  done
}
stored="SELECT COUNT(DISTINCT line.value) FROM deltas, json_each(deltas.records) AS line"
stored+=" WHERE line.value LIKE '%$mark%'"
twice=${stored/DISTINCT /}
state_of() { inside systemctl show --property "$2" --value "$1.service"; }
# Every file of the root, but those that any package's comings and goings change.
listing() {
  local place
  for place in $PLACES; do
    [[ -d $folder/root$place && ! -L $folder/root$place ]] || continue
    (cd "$folder/root" && find ".$place" -xdev)
  done | grep -vE '^\./var/(lib/dpkg|log|cache|tmp|lib/apt|lib/systemd)(/|$)|^\./etc/systemd/system$' | sort
}

finish() {
  local code=$?
  trap - EXIT
  if [[ -n $leader ]]; then
    inside systemctl poweroff 2>/dev/null || true
  fi
  if [[ -n $nspawn ]]; then
    timeout 20 tail --pid="$nspawn" -f /dev/null || kill -KILL "$nspawn" 2>/dev/null || true
    wait "$nspawn" 2>/dev/null || true
  fi
  # What nspawn leaves of its cgroups is empty by now.
  find /sys/fs/cgroup -depth -type d -path "*/$mark*" -exec rmdir {} \; 2>/dev/null || true
  [[ -z $folder ]] || rm -rf "$folder"
  exit "$code"
}
trap finish EXIT
trap 'exit 143' TERM INT

[[ -f $package ]] || fail "there is no $1; run make deb first"
((EUID == 0)) || skip 'a container needs root'
for tool in systemd-nspawn nsenter; do
  command -v "$tool" >/dev/null || skip "no $tool here"
done
[[ -w /dev/kmsg ]] || skip 'no kernel log to write to'
folder=$(mktemp -d "${TMPDIR:-/tmp}/tasseograph-deb.XXXXXX")

check_package() {
  local files
  files=$(dpkg-deb --contents "$package" | awk '{print $2, $6}')
  for file in ./usr/bin/tasseograph ./usr/lib/systemd/system/tasseograph-agent.service \
    ./usr/lib/systemd/system/tasseograph-collector.service ./etc/tasseograph/agent.yaml \
    ./usr/share/doc/tasseograph/copyright ./usr/share/doc/tasseograph/NOTICES.gz; do
    grep -qE "^(0/0|root/root) $file\$" <<<"$files" || fail "the package lacks $file"
  done
  [[ $(dpkg-deb --info "$package" conffiles | sort | xargs) == \
    '/etc/tasseograph/agent.yaml /etc/tasseograph/collector.yaml' ]] ||
    fail 'the configurations are no conffiles'
  if command -v lintian >/dev/null; then
    lintian --allow-root --fail-on error,warning "$package" || fail 'lintian complains'
    pass 'lintian: no error, no warning'
  else
    printf 'skipped: no lintian here\n'
  fi
  dpkg-deb --raw-extract "$package" "$folder/old"
  sed -i 's/^Version: .*/Version: 0.0.9-1/' "$folder/old/DEBIAN/control"
  printf '# As the last version had it.\n' >>"$folder/old/etc/tasseograph/agent.yaml"
  printf '# As the last version had it.\n' >>"$folder/old/etc/tasseograph/collector.yaml"
  dpkg-deb --build --root-owner-group "$folder/old" "$folder/old.deb" >/dev/null
}

boot() {
  if [[ -n $made ]]; then
    cp -a "$made" "$folder/root"
  else
    command -v debootstrap >/dev/null || skip 'no debootstrap here'
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus bookworm "$folder/root" \
      >"$folder/debootstrap.log" 2>&1 ||
      skip "debootstrap cannot build a root: $(tail -n 1 "$folder/debootstrap.log")"
  fi
  (
    for tree in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
      [[ -e $tree/cgroup.procs ]] || continue
      mkdir "$tree/$mark" && echo "$BASHPID" >"$tree/$mark/cgroup.procs"
    done
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
    exec systemd-nspawn --quiet --register=no --keep-unit \
      --directory "$folder/root" --boot --machine "$mark" --console=passive --private-network \
      --capability=CAP_SYSLOG --bind=/dev/kmsg
  ) </dev/null >"$folder/nspawn.log" 2>&1 &
  nspawn=$!
  local state end=$((SECONDS + WAIT_SECONDS))
  until leader=$(ps -o pid= --ppid "$nspawn" | head -n 1 | tr -d ' ') && [[ -n $leader ]] &&
    state=$(inside systemctl is-system-running 2>/dev/null || true) &&
    [[ $state == running || $state == degraded ]]; do
    kill -0 "$nspawn" 2>/dev/null || {
      leader=''
      skip "systemd-nspawn does not run here: $(tail -n 1 "$folder/nspawn.log")"
    }
    ((SECONDS < end)) || fail 'the container does not come up'
    sleep 0.2
  done
  install -D -m 0644 -t "$folder/root/packages/new" "$package"
  install -m 0644 "$folder/old.deb" "$folder/root/packages/old.deb"
}

set_up() {
  local etc=$folder/root/etc/tasseograph unit
  inside tasseograph collector --init >"$folder/init.log" 2>&1 ||
    fail "collector --init: $(cat "$folder/init.log")"
  for unit in tasseograph-agent tasseograph-collector; do
    [[ ! -e $folder/root/etc/systemd/system/$unit.service ]] ||
      fail "collector --init puts a unit before the package's $unit, which no upgrade will change"
  done
  printf '%s\n' 'collector_url: https://127.0.0.1:9311' 'poll_interval: 1s' \
    "tls_ca_file: /etc/tasseograph/cert.pem" >"$etc/agent.yaml"
  mkdir "$folder/root/etc/systemd/system/tasseograph-agent.service.d"
  printf '[Service]\nNice=1\n' \
    >"$folder/root/etc/systemd/system/tasseograph-agent.service.d/own.conf"
}

is_active() { [[ $(state_of "$1" ActiveState) == active ]]; }

life() {
  local before agent collector
  before=$(listing)
  inside dpkg -i /packages/old.deb >"$folder/dpkg.log" 2>&1 || fail "install: $(cat "$folder/dpkg.log")"
  for unit in tasseograph-agent tasseograph-collector; do
    [[ $(state_of "$unit" ActiveState) == inactive ]] || fail "$unit runs before it has a key"
    [[ $(state_of "$unit" UnitFileState) == disabled ]] || fail "$unit is enabled"
  done
  pass 'installs: both units there, neither started'

  set_up
  inside systemctl enable --now --quiet tasseograph-collector tasseograph-agent ||
    fail 'the units do not start'
  write_lines 0
  until_so 'the first records are stored' is_number "$stored" "$LINES_EACH"
  pass "starts: $LINES_EACH records are stored"

  agent=$(state_of tasseograph-agent MainPID) collector=$(state_of tasseograph-collector MainPID)
  write_lines "$LINES_EACH"
  as_readme "$folder/dpkg.log" 'sudo apt install -o ' ||
    fail "upgrade: $(cat "$folder/dpkg.log")"
  write_lines $((2 * LINES_EACH))
  for unit in tasseograph-agent tasseograph-collector; do
    until_so "$unit is active" is_active "$unit"
  done
  [[ $(state_of tasseograph-agent MainPID) != "$agent" ]] || fail 'the agent is the old one still'
  [[ $(state_of tasseograph-collector MainPID) != "$collector" ]] ||
    fail 'the collector is the old one still'
  until_so 'all records are stored' is_number "$stored" $((3 * LINES_EACH))
  is_number "$twice" $((3 * LINES_EACH)) || fail 'a record is stored twice'
  is_number 'SELECT COUNT(*) FROM gaps' 0 || fail 'an upgrade makes a gap'
  grep -q 'poll_interval: 1s' "$folder/root/etc/tasseograph/agent.yaml" ||
    fail 'the upgrade overwrote agent.yaml'
  ! grep -q 'As the last' "$folder/root/etc/tasseograph/collector.yaml" ||
    fail 'the upgrade left collector.yaml, which nobody had changed, as it was'
  pass "upgrades: $((3 * LINES_EACH)) records once each, no gap, a changed agent.yaml kept"

  inside dpkg -r tasseograph >"$folder/dpkg.log" 2>&1 || fail "remove: $(cat "$folder/dpkg.log")"
  [[ ! -e $folder/root/usr/bin/tasseograph ]] || fail 'the program is left'
  [[ -e $folder/root/etc/tasseograph/agent.yaml ]] || fail 'agent.yaml is gone'
  [[ -e $folder/root/var/lib/private/tasseograph/tasseograph.db ]] || fail 'the database is gone'
  ! inside sh -c 'ls -l /proc/[0-9]*/exe 2>/dev/null' | grep -q 'bin/tasseograph' ||
    fail 'a daemon still runs'
  pass 'removes: stopped, configuration and database kept'

  as_readme "$folder/dpkg.log" 'sudo apt install \./' || fail "again: $(cat "$folder/dpkg.log")"
  inside systemctl start tasseograph-collector tasseograph-agent || fail 'it does not start again'
  is_number "$twice" $((3 * LINES_EACH)) || fail 'the database is another one'
  pass 'installs again: with the configuration and the records of before'

  inside dpkg -P tasseograph >"$folder/dpkg.log" 2>&1 || fail "purge: $(cat "$folder/dpkg.log")"
  diff <(printf '%s\n' "$before") <(listing) || fail 'the purge left something, or took too much'
  pass 'purges: no file more or less than before'
}

check_package
boot
life
printf '%s passed, 0 failed, 0 skipped\n' "$passed"
