#!/usr/bin/env bash
# A simulated exchange into the daemon, from start to proof: `make demo` has
# built the programs and started Kafka and TimescaleDB. It works in a database
# "demo", made anew, with topics and a group of the run's own, so that nothing else
# on the stack is touched; `make reset` takes the topics away with all the rest.
# Ends with 0 only if every record is accounted for.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
clone=$(cd "$here/../.." && pwd)
cd "$clone"
log=.devstack/demo.log
records=${DEMO_RECORDS:-200000}
seed=${DEMO_SEED:-1}
# How long one wait may take; all of them take seconds.
patience=120

say() { echo "demo: $*"; }
die() {
  echo "demo: $*" >&2
  exit 1
}

cache=${DEVSTACK_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/persistor-devstack}
# shellcheck disable=SC1091 # written by `make up`
source .devstack/env
exec 8>.devstack/demo.lock
flock --nonblock 8 || die 'another demo runs in this clone'

# psql ARGUMENT…: the stack's own, since the machine need not have one.
psql() {
  if [[ -e .devstack/docker ]]; then
    docker compose exec -T timescaledb psql -XAtq -U postgres "$@"
    return
  fi
  (
    # shellcheck source-path=SCRIPTDIR
    source "$here/install.sh"
    # shellcheck source-path=SCRIPTDIR
    source "$here/postgres.sh"
    postgres_find
    program=("$bin/psql")
    ! is_root || program=(chroot "$tree" "$bin/psql")
    "${program[@]}" -XAtq -h 127.0.0.1 -p "$postgres_port" -U postgres "$@"
  )
}

# get PATH: what the daemon answers over HTTP.
get() {
  exec 3<>"/dev/tcp/127.0.0.1/$http_port" || return 1
  printf 'GET %s HTTP/1.0\r\n\r\n' "$1" >&3
  sed '1,/^\r$/d' <&3
  exec 3>&-
}

# sum METRIC [LABEL]: adds up the series of METRIC that have LABEL.
sum() {
  get /metrics | awk -v metric="$1{" -v label="${2:-}" \
    'index($0, metric) == 1 && index($0, label) { n += $NF } END { printf "%.0f\n", n }'
}

# await WHAT CHECK…: returns once CHECK succeeds; gives up when the daemon ends
# or patience does.
await() {
  local what=$1 deadline=$((SECONDS + patience))
  shift
  until "$@"; do
    kill -0 "$daemon" 2>/dev/null || die "the daemon ended before $what"
    ((SECONDS < deadline)) || die "not within $patience s: $what"
    sleep 0.2
  done
}

daemon='' http_port=''
finish() {
  local code=$?
  if [[ $daemon ]] && kill -0 "$daemon" 2>/dev/null; then
    kill -TERM "$daemon"
    wait "$daemon" || true
  fi
  if ((code != 0)) && [[ -s $log ]]; then
    echo "demo: FAILED, the end of $log:" >&2
    tail -n 30 "$log" >&2
  fi
  exit "$code"
}
trap finish EXIT
: >"$log"

postgres_port=${PERSISTOR_DATABASE_URL#*127.0.0.1:}
postgres_port=${postgres_port%%/*}
run=demo-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
export PERSISTOR_TOPIC_PREFIX=$run. PERSISTOR_GROUP_ID=$run
export PERSISTOR_DATABASE_URL="${PERSISTOR_DATABASE_URL%/*}/demo?sslmode=disable"

say "a fresh database 'demo', topics '$run.*'"
psql -d postgres -c 'SET client_min_messages = warning' -c 'DROP DATABASE IF EXISTS demo WITH (FORCE)' -c 'CREATE DATABASE demo'
bin/persistor topics create | tail -n 1
bin/persistor migrate

say "the daemon starts, its log is $log"
bin/persistor run --listen 127.0.0.1:0 --log-format text >>"$log" 2>&1 8>&- &
daemon=$!
listening() {
  http_port=$(sed -n 's|.*url=http://127\.0\.0\.1:\([0-9]*\)/.*|\1|p' "$log" | head -n 1)
  [[ $http_port ]]
}
await 'the daemon listens' listening
# The eight topics have 28 partitions; a fresh one's leader takes a moment.
at_work() { (($(get /metrics | grep -c '^kafka_consumer_lag{') == 28)) && get /readyz | grep -q '"ready": true'; }
await 'the daemon is ready, with all partitions' at_work
say "status page: http://127.0.0.1:$http_port/ while this runs"

say "a simulated exchange writes $records records and a few more (seed $seed); some come twice, some are not the engine's"
started=$SECONDS
produced=$(bin/simexchange --brokers "$PERSISTOR_KAFKA_BROKERS" --topic-prefix "$PERSISTOR_TOPIC_PREFIX" \
  --records "$records" --seed "$seed" --duplicates 0.001 --foreign 0.001)
echo "$produced"
total=$(awk '/^in all / { print $3 }' <<<"$produced")

caught_up() {
  (($(sum persistor_records_total) >= total && $(sum kafka_consumer_lag) == 0))
}
await "all $total records are stored" caught_up
say "all are stored, $((SECONDS - started)) s after the exchange's start; lag $(sum kafka_consumer_lag)"
say "stored $(sum persistor_records_total 'outcome="stored"'), duplicates $(sum persistor_records_total 'outcome="duplicate"'), rejected $(sum persistor_records_total 'outcome="rejected"')"

say 'rows:'
tables=(trades order_events balance_changes deposits withdrawals internal_transfers users event_log rejects duplicates)
for table in "${tables[@]}"; do
  printf '  %-20s %10s\n' "$table" "$(psql -d demo -c "SELECT count(*) FROM dingir.$table")"
done

say 'the ledger beside Kafka (persistor positions):'
bin/persistor positions
say 'the audit (persistor verify):'
bin/persistor verify

kill -TERM "$daemon"
code=0
wait "$daemon" || code=$?
daemon=''
((code == 0)) || die "the daemon ended with exit code $code after SIGTERM"
say "the daemon ended with 0 after SIGTERM; Kafka and TimescaleDB still run, 'make down' stops them. To look around:"
echo "  export PERSISTOR_KAFKA_BROKERS=$PERSISTOR_KAFKA_BROKERS PERSISTOR_TOPIC_PREFIX=$PERSISTOR_TOPIC_PREFIX"
echo "  export PERSISTOR_DATABASE_URL='$PERSISTOR_DATABASE_URL'"
echo '  bin/persistor state --user 7'
