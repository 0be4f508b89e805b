#!/usr/bin/env bash
# The whole pipeline on this machine, in a temporary folder: a collector, two agents, one database.
#
# usage: tests/demo/demo.sh BINARY
#
# Needs openssl for the certificate; neither root nor sqlite3. OPENAI_API_KEY, when it is set, has
# api.openai.com analyse (OPENAI_MODEL, default gpt-4o-mini) before the built-in signature table.
set -euo pipefail

BINARY=${1:?usage: tests/demo/demo.sh BINARY}
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
SAMPLE=$HERE/degraded.kmsg
START_SECONDS=20
ANALYSIS_SECONDS=60
ANALYSIS_SECONDS_REMOTE=300

# Nothing of the caller's own set-up may reach the demo.
unset TASSEOGRAPH_API_KEY TASSEOGRAPH_HOSTNAME TASSEOGRAPH_LOG CREDENTIALS_DIRECTORY \
  RUNTIME_DIRECTORY NOTIFY_SOCKET WATCHDOG_USEC JOURNAL_STREAM

folder='' collector='' step='starting'

title() { printf '\n%s\n' "$1"; step=$1; }
say() { printf '   %s\n' "$1"; }
indented() { sed 's/^/   /'; }
fail() { printf '\ndemo: %s\n' "$1" >&2; exit 1; }
report() { "$BINARY" report --db "$folder/tasseograph.db" --query "$1"; }
# The one number that a query answers, below its head and its rule.
number() { report "$1" | sed -n 3p; }

stop_collector() {
  if [[ -n $collector ]]; then
    kill "$collector" 2>/dev/null || true
    wait "$collector" 2>/dev/null || true
    collector=''
  fi
}

# shellcheck disable=SC2329 # the trap calls it
finish() {
  local code=$?
  trap - EXIT
  stop_collector
  if ((code != 0)); then
    {
      printf '\ndemo: failed at "%s"\n' "$step"
      if [[ -n $folder && -s $folder/collector.log ]]; then
        printf 'demo: the collector said:\n'
        indented <"$folder/collector.log"
      fi
      if [[ -n $folder ]]; then
        printf 'demo: everything lies in %s; remove it with: rm -r %s\n' "$folder" "$folder"
      fi
    } >&2
  fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

make_folder() {
  title '1. A folder, a key and a certificate, all to be thrown away'
  folder=$(mktemp -d "${TMPDIR:-/tmp}/tasseograph-demo.XXXXXX")
  (umask 077 && openssl rand -hex 32 >"$folder/api_key")
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -keyout "$folder/key.pem" -out "$folder/cert.pem" -subj '/CN=tasseograph demo' \
    -addext 'subjectAltName=IP:127.0.0.1' -addext 'basicConstraints=critical,CA:FALSE' \
    2>"$folder/openssl.log" ||
    fail "openssl made no certificate: $(tail -n 1 "$folder/openssl.log")"
  export TASSEOGRAPH_API_KEY_FILE=$folder/api_key
  say "$folder"
}

start_collector() {
  title '2. A collector on the loopback address'
  {
    printf 'listen_addr: "127.0.0.1:0"\ndb_path: "%s/tasseograph.db"\n' "$folder"
    printf 'tls_cert: "%s/cert.pem"\ntls_key: "%s/key.pem"\nllm_endpoints:\n' "$folder" "$folder"
    if [[ -n ${OPENAI_API_KEY:-} ]]; then
      printf '  - url: https://api.openai.com/v1\n    model: %s\n' "${OPENAI_MODEL:-gpt-4o-mini}"
      printf '    api_key_env: OPENAI_API_KEY\n'
    fi
    printf '  - url: "builtin:"\n    model: signatures\n'
  } >"$folder/collector.yaml"
  : >"$folder/collector.log"
  "$BINARY" collector --config "$folder/collector.yaml" >"$folder/collector.log" 2>&1 &
  collector=$!
  local tries=$((START_SECONDS * 10))
  url=''
  while [[ -z $url ]]; do
    url=$(sed -n 's|.*listening on \(https://[^ ]*\).*|\1|p' "$folder/collector.log" | head -n 1)
    [[ -n $url ]] && break
    kill -0 "$collector" 2>/dev/null || fail 'the collector ended at once'
    ((tries-- > 0)) || fail "the collector does not listen after $START_SECONDS s"
    sleep 0.1
  done
  say "listening on $url"
  if [[ -n ${OPENAI_API_KEY:-} ]]; then
    say "OPENAI_API_KEY is set: the records go to api.openai.com (${OPENAI_MODEL:-gpt-4o-mini});"
    say 'should it fail, the built-in signature table analyses'
  else
    say 'the built-in signature table analyses: no model, no network'
  fi
}

# run_agent NAME [LINE...]: one poll with a configuration of its own.
run_agent() {
  local name=$1 code=0
  shift
  {
    printf 'collector_url: %s\ntls_ca_file: "%s/cert.pem"\n' "$url" "$folder"
    printf 'state_file: "%s/%s.state"\n' "$folder" "$name"
    for line in "$@"; do printf '%s\n' "$line"; done
  } >"$folder/$name.yaml"
  "$BINARY" agent --once --config "$folder/$name.yaml" </dev/null >"$folder/$name.log" 2>&1 ||
    code=$?
  # Without the time that each line begins with.
  sed -E 's/^[0-9T:.-]+Z [a-z]+ +//' "$folder/$name.log" | indented
  return "$code"
}

run_agents() {
  title "3. An agent reads this machine's kernel log, once"
  local code=0
  if [[ -e /dev/kmsg ]]; then
    run_agent agent || code=$?
    case $code in
      0) ;;
      77)
        say 'not allowed here, so the demo goes on without it;'
        say "sudo tests/demo/demo.sh $BINARY shows it"
        ;;
      *) fail "the agent ended with $code" ;;
    esac
  else
    say 'there is no /dev/kmsg here (a container?), so the demo goes on without it'
  fi
  title '4. Another agent ships tests/demo/degraded.kmsg, as the host demo-degraded'
  run_agent degraded 'hostname: demo-degraded' "kmsg_path: \"$SAMPLE\"" ||
    fail "the agent ended with $?"
}

await_analysis() {
  title '5. The analysis'
  local seconds=$ANALYSIS_SECONDS waiting
  [[ -n ${OPENAI_API_KEY:-} ]] && seconds=$ANALYSIS_SECONDS_REMOTE
  local until=$((SECONDS + seconds))
  while waiting=$(number "SELECT COUNT(*) FROM deltas WHERE state != 'done'"); do
    [[ $waiting == 0 ]] && break
    ((SECONDS < until)) || fail "$waiting deltas wait for their analysis after $seconds s"
    sleep 0.2
  done
  [[ $waiting == 0 ]] || fail 'the database does not answer'
  local results findings
  results=$(number 'SELECT COUNT(*) FROM results')
  findings=$(number 'SELECT COUNT(*) FROM findings')
  ((results > 0)) || fail 'there is no result'
  ((findings > 0)) || fail 'the sample of degradations has no finding'
  # Who analysed, and why an endpoint before it did not.
  sed -nE 's/^[0-9T:.-]+Z info +(analysis by )/\1/p' "$folder/collector.log" | indented
  say "results: $results, findings: $findings"
}

# show SQL: a query, and its answer.
show() {
  printf '   %s\n\n' "$1"
  report "$1" | indented
  printf '\n'
}

show_results() {
  title '6. What the database says'
  show "SELECT timestamp, hostname, status, issues FROM results WHERE status != 'ok'\
 ORDER BY timestamp DESC LIMIT 20;"
  show 'SELECT status, COUNT(*) FROM results GROUP BY status;'
  title '7. The findings, one by one'
  report 'SELECT hostname, severity, category, summary FROM findings ORDER BY severity, category' |
    indented
}

say_where() {
  title "8. Everything is stopped, and lies in $folder"
  say 'tasseograph.db                    the database'
  say 'collector.yaml agent.yaml ...     the configurations'
  say 'collector.log agent.log ...       what each of them said'
  printf '\n   look further:  %s report --db %s/tasseograph.db\n' "$BINARY" "$folder"
  printf '   clean up:      rm -r %s\n' "$folder"
}

[[ -x $BINARY ]] || fail "$BINARY is no program; run make build"
command -v openssl >/dev/null || fail 'openssl is not installed; it makes the certificate'
make_folder
start_collector
run_agents
await_analysis
show_results
stop_collector
say_where
