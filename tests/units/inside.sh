#!/usr/bin/env bash
# The checks of tests/units/run.sh, inside a system that has nothing but the program.
#
# Each check says how long it took. A check that fails shows what the units said, and the rest goes
# on: one run tells everything.
set -u
# shellcheck source=/dev/null
. /units/settings

STATE=/units/state
DB=/var/lib/tasseograph/tasseograph.db
# The kernel keeps what earlier runs wrote.
MARK=tasseograph-units-$RUN
STEP_SECONDS=60
[[ $MODE = nspawn ]] || STEP_SECONDS=240
FLOOD=20000
AGENT_MEMORY=$((64 * 1024 * 1024))

mkdir -p "$STATE"
good() { cat "$STATE/good" 2>/dev/null || echo 0; }
bad() { cat "$STATE/bad" 2>/dev/null || echo 0; }
now() { date +%s%N; }
since() { printf '%d.%02d s' $((($(now) - $1) / 1000000000)) $((($(now) - $1) / 10000000 % 100)); }
say() { printf 'units: %s: %s\n' "$HOSTNAME" "$1"; }

# check WHAT COMMAND...: the command has to succeed, within STEP_SECONDS, tried again until then.
check() {
  local what=$1 begun until
  shift
  begun=$(now) until=$((SECONDS + STEP_SECONDS))
  until "$@" >/units/last 2>&1; do
    if ((SECONDS >= until)); then
      echo $(($(bad) + 1)) >"$STATE/bad"
      say "FAILED: $what"
      tail -5 /units/last
      journalctl --no-pager -q -n 12 -u 'tasseograph-*'
      return 1
    fi
    sleep 0.1
  done
  echo $(($(good) + 1)) >"$STATE/good"
  say "$what ($(since "$begun"))"
  if [[ $1 = said ]]; then sed 's/^/    /' /units/last; fi
}

pid_of() { systemctl show -P MainPID "tasseograph-$1"; }
active() { systemctl is-active -q "tasseograph-$1"; }
both_active() { active collector && active agent; }
is_new_pid() { active "$1" && [[ $(pid_of "$1") != "$2" && $(pid_of "$1") != 0 ]]; }
sql() { tasseograph report --db "$DB" --query "$1" | sed -n 3p | tr -d ' '; }
answers() { [[ $(sql "$1") = "$2" ]]; }
# Each record that was written is there once: none is missing and none is doubled.
stored_once() {
  answers "SELECT COUNT(*) FROM deltas, json_each(deltas.records) AS line
    WHERE line.value LIKE '%;$MARK $1%'" 1
}
mark() { echo "<6>$MARK $1" >/dev/kmsg; }
status_of() { sed -n "s/^$2:\t//p" "/proc/$(pid_of "$1")/status"; }
# said UNIT TEXT: since the last `fresh`.
said() {
  journalctl --no-pager -q -o cat --cursor="$(cat "$STATE/cursor")" \
    -u "tasseograph-$1" | grep -F -m 1 -e "$2"
}
fresh() { journalctl --no-pager -q -n 0 --show-cursor | sed -n 's/^-- cursor: //p' >"$STATE/cursor"; }

drop_in() {
  mkdir -p "/run/systemd/system/tasseograph-$1.service.d"
  printf '[Service]\n%b\n' "$2" >"/run/systemd/system/tasseograph-$1.service.d/units.conf"
  systemctl daemon-reload
}
no_drop_in() {
  rm -rf "/run/systemd/system/tasseograph-$1.service.d"
  systemctl daemon-reload
  systemctl reset-failed "tasseograph-$1" 2>/dev/null
  systemctl restart "tasseograph-$1"
}

# readme SCRIPT FOLDER: commands of README.md, in the folder where the program lies. What goes to
# another host goes into a folder that both see.
# shellcheck disable=SC2329,SC2317 # the commands call them
readme() (
  sudo() { "$@"; }
  scp() { cp "$1" /shared/tasseograph; }
  ssh() { [[ $2 = mv ]] || { cat >/shared/join.new && mv /shared/join.new /shared/join.sh; }; }
  cd "$2" || exit 1
  # shellcheck source=/dev/null
  . "/units/$1.sh"
)

# From nothing.
begins() {
  local begun
  begun=$(now)
  readme one-host /units/first
  check "both units are active" both_active || return
  check "this kernel's log is in the database" answers 'SELECT COUNT(*) > 0 FROM deltas' 1
  say "from an unpacked program to the first row: $(since "$begun")"
  readme report /units/first
  check "the report shows this host" answers 'SELECT hostname FROM hosts' "$HOSTNAME"
  # A poll is due every 5 minutes; a check does not wait so long.
  sed -i 's/^# poll_interval: 5m/poll_interval: 1s/' /etc/tasseograph/agent.yaml
  systemctl restart tasseograph-agent
  mark one
  check "a record is a row" stored_once one
  if [[ $MODE = vm ]]; then
    echo h >/proc/sysrq-trigger
    check "a record of the kernel's own is a row" \
      answers "SELECT COUNT(*) > 0 FROM deltas WHERE raw_dmesg LIKE '%kern.info sysrq: HELP%'" 1
  fi
}

privileges() {
  local unit
  for unit in agent collector; do
    check "$unit: CapEff is 0" test "$(status_of $unit CapEff)" = 0000000000000000
    check "$unit: CapBnd is 0" test "$(status_of $unit CapBnd)" = 0000000000000000
    check "$unit: a system call filter is on" test "$(status_of $unit Seccomp)" = 2
    check "$unit: no new privileges" test "$(status_of $unit NoNewPrivs)" = 1
    check "$unit: its user is a dynamic one" test "$(status_of $unit Uid | cut -f1)" -ge 61184
  done
  check "agent: its standard input is the kernel log" \
    test "$(readlink "/proc/$(pid_of agent)/fd/0")" = /dev/kmsg
}

ends_and_returns() {
  local unit begun pid took
  for unit in agent collector; do
    begun=$(now)
    systemctl stop "tasseograph-$unit"
    took=$((($(now) - begun) / 1000000))
    STEP_SECONDS=0 check "$unit: stops in less than 5 s ($took ms)" test "$took" -lt 5000
    mark "while $unit is stopped"
    systemctl start "tasseograph-$unit"
    check "$unit: what came meanwhile is stored once" stored_once "while $unit is stopped"
    pid=$(pid_of $unit)
    kill -9 "$pid"
    mark "while $unit is killed"
    check "$unit: comes back after kill -9" is_new_pid $unit "$pid"
    check "$unit: what came meanwhile is stored once" stored_once "while $unit is killed"
  done
}

# The collector pets the watchdog every 10 s.
watchdogs() {
  local pid unit time
  for unit in agent collector; do
    time=6s
    [[ $unit = agent ]] || time=30s
    fresh
    drop_in $unit "WatchdogSec=$time"
    systemctl restart "tasseograph-$unit"
    pid=$(pid_of $unit)
    kill -STOP "$pid"
    check "$unit: stopped for longer than WatchdogSec=$time it is started again" is_new_pid $unit "$pid"
    check "$unit: it was the watchdog" said $unit 'Watchdog timeout'
    no_drop_in $unit
    check "$unit: active" active $unit
  done
}

# A program that does not run here changes nothing.
bad_upgrade() {
  local pid unit=/etc/systemd/system/tasseograph-agent.service
  pid=$(pid_of agent)
  mkdir -p /units/broken
  printf 'no program\n' >/units/broken/tasseograph
  chmod 0755 /units/broken/tasseograph
  readme upgrade /units/broken
  check "bad upgrade: the agent runs on" test "$(pid_of agent)" = "$pid"
  check "bad upgrade: the program is the old one" \
    cmp -s /usr/local/bin/tasseograph /units/first/tasseograph
  check "bad upgrade: the unit is whole" grep -q '^ExecStart=' $unit
}

upgrade() {
  local pid
  pid=$(pid_of agent)
  mark "before the upgrade"
  readme upgrade /units/new
  mark "during the upgrade"
  check "upgrade: the agent is started again" is_new_pid agent "$pid"
  check "upgrade: both units are active" both_active
  check "upgrade: the agent is the new program" \
    cmp -s "/proc/$(pid_of agent)/exe" /units/new/tasseograph
  check "upgrade: a record before it is stored once" stored_once "before the upgrade"
  check "upgrade: a record during it is stored once" stored_once "during the upgrade"
}

# What an operator changes later, on a host without openssl.
changes() {
  local key cert pid
  cd /etc/tasseograph || return
  key=$(cat api_key) cert=$(cat cert.pem) pid=$(pid_of collector)
  readme another-key /
  check "another key: the collector is started again" is_new_pid collector "$pid"
  check "another key: it is a new one" test "$(wc -c <api_key)" = 65 -a "$(cat api_key)" != "$key"
  check "another key: the one before it is kept" test "$(cat api_key_previous)" = "$key"
  mark "with the previous key"
  check "another key: the agent still has the old one" stored_once "with the previous key"
  systemctl restart tasseograph-agent
  mark "with the new key"
  check "another key: and then the new one" stored_once "with the new key"
  readme one-key /
  check "another key: the old one is gone" test ! -e api_key_previous
  check "another key: the collector is active" active collector

  readme another-certificate /
  check "another certificate: it is a new one" test -s cert.pem -a "$(cat cert.pem)" != "$cert"
  systemctl restart tasseograph-collector tasseograph-agent
  mark "with another certificate"
  check "another certificate: the pin is kept" stored_once "with another certificate"

  echo a-key >openai_api_key
  readme model /
  check "a model: its key is handed over" \
    test -r /run/credentials/tasseograph-collector.service/OPENAI_API_KEY

  install -d -m 0755 /srv/tls && mv key.pem /srv/tls
  sed -i 's|^tls_key: .*|tls_key: /srv/tls/key.pem|' collector.yaml
  cp /units/key-elsewhere.conf /etc/systemd/system/tasseograph-collector.service.d
  systemctl daemon-reload
  systemctl restart tasseograph-collector
  mark "with a key elsewhere"
  check "a key elsewhere: it is handed over too" stored_once "with a key elsewhere"
  mv /srv/tls/key.pem key.pem
  sed -i 's|^tls_key: .*|tls_key: /etc/tasseograph/key.pem|' collector.yaml
  rm -r /etc/systemd/system/tasseograph-collector.service.d
  systemctl daemon-reload
  systemctl restart tasseograph-collector
  check "after the changes both units are active" both_active
}

# What is wrong is said, with what to do about it.
twins() {
  fresh
  drop_in agent 'StandardInput=null'
  systemctl restart tasseograph-agent
  check "twin: without StandardInput the agent says what to do" \
    said agent 'a unit hands it over by StandardInput=file:/dev/kmsg'
  fresh
  drop_in agent 'StandardInput=file:/dev/no-kernel-log'
  systemctl restart tasseograph-agent
  check "twin: without the device systemd says so" said agent 'Failed to set up standard input'
  no_drop_in agent

  fresh
  echo "another-key-than-the-collectors" >/units/other_key
  drop_in agent 'LoadCredential=\nLoadCredential=TASSEOGRAPH_API_KEY:/units/other_key'
  systemctl restart tasseograph-agent
  check "twin: with another key the agent says so" said agent 'answered 401'
  check "twin: and so does the collector" said collector 'refused a wrong or missing key'

  fresh
  printf 'two words\n' >/units/other_key
  systemctl restart tasseograph-agent
  check "twin: with a file that is no key the agent says so" \
    said agent 'TASSEOGRAPH_API_KEY: it holds a character'
  fresh
  drop_in agent 'LoadCredential=\nLoadCredential=TASSEOGRAPH_API_KEY:/units/missing'
  systemctl restart tasseograph-agent
  check "twin: with a key file that is missing systemd says so" \
    said agent 'Failed to set up credentials'
  no_drop_in agent

  fresh
  drop_in agent 'ReadOnlyPaths=/var/lib/private/tasseograph'
  systemctl restart tasseograph-agent
  check "twin: with a read-only state folder the agent says so" \
    said agent 'read-only file system; mount it for writing, or name another folder'
  no_drop_in agent
  fresh
  drop_in collector 'ReadOnlyPaths=/var/lib/private/tasseograph'
  systemctl restart tasseograph-collector
  check "twin: with a read-only state folder the collector says so" \
    said collector 'read-only file system; mount it for writing, or name another folder'
  no_drop_in collector

  fresh
  cp /etc/tasseograph/key.pem /units/key.pem
  mkdir -p /units/other
  tasseograph collector --init -c /units/other/collector.yaml >/dev/null
  cp /units/other/key.pem /etc/tasseograph/key.pem
  systemctl restart tasseograph-collector
  check "twin: with another certificate's key the collector says so" \
    said collector 'does not belong to the certificate'
  cp /units/key.pem /etc/tasseograph/key.pem
  systemctl restart tasseograph-collector
  check "after the twins both units are active" both_active
  mark "after the twins"
  check "after the twins a record is stored once" stored_once "after the twins"
}

# As fast as a shell can write, which is faster than any kernel for long.
flood() {
  local line group=/sys/fs/cgroup/system.slice/tasseograph-agent.service restarts begun
  restarts=$(systemctl show -P NRestarts tasseograph-agent)
  begun=$(now)
  for ((line = 0; line < FLOOD; line++)); do
    echo "<6>$MARK flood $line"
  done >/dev/kmsg
  say "flood: $FLOOD lines in $(since "$begun")"
  mark "after the flood"
  check "flood: a record after it is stored once" stored_once "after the flood"
  check "flood: every line is stored once, or in a gap" answers "SELECT
    (SELECT COUNT(*) FROM deltas, json_each(deltas.records) AS line
      WHERE line.value LIKE '%;$MARK flood %')
    + (SELECT coalesce(SUM(next_seq - first_seq), 0) FROM gaps) >= $FLOOD AS all_there" 1
  say "flood: lost to the ring: $(sql 'SELECT coalesce(SUM(next_seq - first_seq), 0) FROM gaps')"
  check "flood: the agent's memory at its highest ($(cat $group/memory.peak) bytes) is below \
MemoryMax" test "$(cat $group/memory.peak)" -lt $AGENT_MEMORY
  check "flood: nothing was killed for memory" grep -q '^oom_kill 0$' $group/memory.events
  check "flood: its tasks ($(cat $group/pids.current)) are below TasksMax" \
    test "$(cat $group/pids.current)" -lt "$(cat $group/pids.max)"
  check "flood: no fork was refused" grep -q '^max 0$' $group/pids.events
  check "flood: it has the CPU weight of its unit" test "$(cat $group/cpu.weight)" = 20
  check "flood: it was not started again" \
    test "$(systemctl show -P NRestarts tasseograph-agent)" = "$restarts"
}

verdict() {
  if [[ $(bad) = 0 ]]; then
    echo "units: all $(good) checks hold"
  else
    echo "units: $(bad) of $(($(good) + $(bad))) checks do not"
  fi
}

as_collector() {
  begins
  both_active || return
  [[ $MODE = vm ]] || other_host
  privileges
  ends_and_returns
  watchdogs
  bad_upgrade
  upgrade
  changes
  twins
  if [[ $MODE = nspawn ]]; then removal; else
    flood
    # What the spool holds of this boot is sent after the next.
    systemctl stop tasseograph-collector
    mark "before the reboot"
    # drain_interval: by then it is on the disk.
    sleep 8
    echo rebooted >"$STATE/stage"
    say "reboots"
    systemctl reboot
    exit 0
  fi
}

after_reboot() {
  check "reboot: both units are active" both_active
  check "reboot: a record that nobody had taken is stored once" stored_once "before the reboot"
  check "reboot: it has two boots" \
    answers 'SELECT COUNT(DISTINCT boot_id) FROM deltas' 2
  mark "after the reboot"
  check "reboot: a record after it is stored once" stored_once "after the reboot"
  removal
}

other_host() {
  readme another-host /units/first
  check "another host has joined" answers "SELECT COUNT(*) FROM hosts WHERE hostname = 'web-1'" 1
  check "with a key of its own" \
    answers "SELECT key_kind FROM hosts WHERE hostname = 'web-1'" host
  touch /shared/joined
}

as_agent() {
  local begun
  check "it is told to join" test -e /shared/join.sh
  begun=$(now)
  install -m 0755 /shared/tasseograph /usr/local/bin/tasseograph
  sh /shared/join.sh
  check "the agent is active" active agent
  check "the collector has heard of it" test -e /shared/joined
  say "from a copied program to the first row: $(since "$begun")"
  removal
}

left_over() { find / -xdev -iname '*tasseograph*' -not -path '/units/*' -not -path '/shared/*' | grep .; }
nothing_left() { ! left_over; }
nothing_runs() { ! grep -lsx tasseograph /proc/[0-9]*/comm; }

removal() {
  readme remove /units/new
  check "removal: nothing runs" nothing_runs
  check "removal: nothing is left" nothing_left
}

if [[ -e $STATE/stage ]]; then after_reboot; elif [[ $ROLE = collector ]]; then as_collector; else
  as_agent
fi
verdict
sync
systemctl poweroff
