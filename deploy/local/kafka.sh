# shellcheck shell=bash disable=SC2154 # stack sets cache and here
# A Kafka broker that is its own controller, from Maven's artifacts. Sourced
# by `stack`. DIR/kafka holds server.properties, data/, log and pid.

kafka_version=4.1.0
# Name it anew when what kafka_build makes changes.
kafka_cache=kafka-$kafka_version

kafka_install() {
  need_command java openjdk-17-jre-headless default-jre-headless
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p')
  ((${version:-0} >= 17)) ||
    die "Kafka $kafka_version needs Java 17 or newer, 'java' is ${version:-unknown}: put a newer one first in PATH"
  [[ -d $cache/$kafka_cache ]] || need_command mvn maven
  cached "$kafka_cache" kafka_build
}

kafka_build() {
  watched "fetching Kafka $kafka_version (54 MB)" \
    mvn -q -B -f "$here/kafka-pom.xml" "-Dkafka.version=$kafka_version" \
    dependency:copy-dependencies -DincludeScope=runtime "-DoutputDirectory=$1/libs"
  # A logger for the broker alone: its tools shall print what was asked for.
  mkdir "$1/logging"
  mv "$1"/libs/slf4j-simple-*.jar "$1/logging"
}

kafka_classpath() {
  echo "$cache/$kafka_cache/libs/*"
}

# kafka_start DIR PORT: the controller listens on PORT + 1.
kafka_start() {
  local dir=$1/kafka port=$2
  ! already_running "$dir" "$port" kafka_answers "$port" || return 0
  kafka_install
  ! port_taken "$port" || die "127.0.0.1:$port is taken by another process, choose another port (KAFKA_PORT for up)"
  ! port_taken $((port + 1)) || die "127.0.0.1:$((port + 1)), for Kafka's controller, is taken by another process, choose another port (KAFKA_PORT for up)"
  mkdir -p "$dir"
  kafka_properties "$dir" "$port" >"$dir/server.properties"
  if [[ ! -e $dir/data/meta.properties ]]; then
    kafka_java kafka.tools.StorageTool format --cluster-id "$(kafka_cluster_id)" \
      --config "$dir/server.properties" >"$dir/log" 2>&1 ||
      { cat "$dir/log" >&2; die "Kafka could not format $dir/data, see above"; }
  fi
  launch "$dir" "$port" java -Xmx1g -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.showDateTime=true -cp "$(kafka_classpath):$cache/$kafka_cache/logging/*" \
    kafka.Kafka "$dir/server.properties"
  await_start "$dir" kafka_answers "$port"
}

kafka_java() {
  java -XX:TieredStopAtLevel=1 -cp "$(kafka_classpath)" "$@"
}

# A cluster id is 16 random bytes, base64 for addresses, without padding; without
# its two signs, since Kafka's tool takes an id that begins with - for an option.
kafka_cluster_id() {
  head -c 16 /dev/urandom | base64 | tr '+/' 'Pp' | tr -d '='
}

kafka_properties() {
  cat <<PROPERTIES
# Written by deploy/local/stack at every start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$(($2 + 1))
controller.listener.names=CONTROLLER
listeners=BROKER://127.0.0.1:$2,CONTROLLER://127.0.0.1:$(($2 + 1))
advertised.listeners=BROKER://127.0.0.1:$2
inter.broker.listener.name=BROKER
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=$1/data

# The daemon must never be the reason that a topic exists.
auto.create.topics.enable=false
# A 10 MiB message and what is around it.
message.max.bytes=12582912
replica.fetch.max.bytes=12582912

# One broker is all there is.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# After SIGKILL the controller refuses the broker's next life until the last
# one's session has passed.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=5000

group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=6000

# Sized for a developer's machine.
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.retention.check.interval.ms=10000
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}

# kafka_answers PORT: asks for metadata of no topic (Metadata v1, client
# "up"), and succeeds when the answer names a broker: length, correlation id,
# then the number of brokers, four bytes each.
kafka_answers() {
  local answer
  {
    answer=$(
      exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
      printf '\0\0\0\020\0\003\0\001\0\0\0\007\0\002up\0\0\0\0' >&3
      timeout 5 head -c 12 <&3 | od -An -v -tx1 | tr -d ' \n'
    )
  } 2>/dev/null
  [[ $answer =~ ^.{8}00000007[0-9a-f]{6}0*[1-9] ]]
}

kafka_stop() {
  stop_process "$1/kafka" TERM
}

kafka_kill() {
  signal_tree "$1/kafka" KILL
}
