# shellcheck shell=bash disable=SC2154 # stack sets cache and here
# A PostgreSQL with TimescaleDB. Sourced by `stack`. DIR/postgres holds data/,
# postgresql.conf, log and pid.
#
# The programs are the machine's own where its packages have TimescaleDB, else
# those of a Debian tree in the cache. A tree is shared by every instance:
# each runs chrooted in a mount namespace of its own, where DIR/postgres is
# /mnt, so its mounts end with it, even under SIGKILL. The machine's own
# programs run in the same way with / as the tree, because the user postgres
# could not enter a clone below somebody's home directory.

debian_suite=trixie
debian_postgres=17
# Name it anew when what debian_build makes changes.
debian_cache=debian-$debian_suite-postgresql-$debian_postgres-timescaledb

# postgres_native: prints the newest version of the machine's own PostgreSQL
# that has TimescaleDB, or fails.
postgres_native() {
  local library newest=''
  for library in /usr/lib/postgresql/*/lib/timescaledb.so; do
    [[ -e $library ]] || continue
    library=${library#/usr/lib/postgresql/}
    ((${library%%/*} <= ${newest:-0})) || newest=${library%%/*}
  done
  [[ $newest ]] && echo "$newest"
}

# postgres_find: sets tree and bin to the programs to use, or fails.
postgres_find() {
  local version
  if version=$(postgres_native); then
    tree=/
  elif [[ -d $cache/$debian_cache ]]; then
    version=$debian_postgres tree=$cache/$debian_cache
  else
    return 1
  fi
  bin=/usr/lib/postgresql/$version/bin
}

postgres_install() {
  if ! postgres_find; then
    local package
    ! is_root || apt_update
    package=$(apt-cache pkgnames postgresql- 2>/dev/null |
      grep -E '^postgresql-[0-9]+-timescaledb$' | sort -V | tail -n 1) || true
    if [[ $package ]]; then
      postgres_install_package "$package"
    else
      is_root || die "this machine's packages have no TimescaleDB: run a Docker engine, install postgresql-NN and its timescaledb package from elsewhere, or run this as root to build a Debian $debian_suite tree"
      need_command debootstrap debootstrap
      need_command xz xz-utils
      cached "$debian_cache" debian_build
    fi
    postgres_find || die "no TimescaleDB for PostgreSQL below /usr/lib/postgresql after installing ${package:-the tree}"
  fi
  is_root || [[ $tree == / ]] || die "the Debian tree $tree can only be entered by root"
}

# Debian starts a cluster on port 5432 when a server is installed; nobody
# asked for that one.
postgres_install_package() {
  local dropin=/etc/postgresql-common/createcluster.d/persistor.conf
  if is_root; then
    mkdir -p "${dropin%/*}"
    echo 'create_main_cluster = false' >"$dropin"
  fi
  install_packages "$1"
  rm -f "$dropin"
}

# debian_build DIR: makes the tree. The mirror is the machine's own, or what
# debootstrap takes by itself.
debian_build() {
  mkdir -p "$1/etc/postgresql-common/createcluster.d"
  echo 'create_main_cluster = false' >"$1/etc/postgresql-common/createcluster.d/persistor.conf"
  local mirror proxy=''
  # shellcheck disable=SC2016 # apt expands these
  mirror=$(apt-get indextargets --format '$(ORIGIN)/$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's|^Debian/Debian ||p' | head -n 1) || true
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  [[ -z $proxy ]] || export http_proxy=$proxy
  watched "building a Debian $debian_suite tree with PostgreSQL $debian_postgres and TimescaleDB (700 MB)" \
    unshare --mount debootstrap --variant=minbase \
    "--include=postgresql-$debian_postgres,postgresql-$debian_postgres-timescaledb" \
    "$debian_suite" "$1" ${mirror:+"$mirror"}
  rm -rf "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*
}

# postgres_start DIR PORT
postgres_start() {
  local dir=$1/postgres port=$2
  ! { postgres_find && already_running "$dir" "$port" postgres_answers "$port"; } || return 0
  postgres_install
  ! port_taken "$port" || die "127.0.0.1:$port is taken by another process, choose another port (POSTGRES_PORT for up)"
  mkdir -p "$dir"
  local home=$dir inside=()
  if is_root; then
    # Mounts made later below DIR are seen inside too; ours are not outside.
    home=/mnt
    inside=(unshare --mount --propagation slave "$here/enter-tree" "$tree" "$dir")
    chown "$(chroot "$tree" id -u postgres)" "$dir"
  fi
  sed "s|^unix_socket_directories = .*|unix_socket_directories = '$home'|" \
    "$here/postgresql.conf" >"$dir/postgresql.conf"
  # Without DIR/pid all of its processes are known to have ended, but killed
  # ones linger as zombies under an init that is slow to reap, and PostgreSQL
  # would take its zombie for a running postmaster.
  [[ -e $dir/pid ]] || rm -f "$dir/data/postmaster.pid" "$dir"/.s.PGSQL.*
  if [[ ! -e $dir/data/PG_VERSION ]]; then
    rm -rf "$dir/data"
    "${inside[@]}" "$bin/initdb" -D "$home/data" -U postgres -A trust \
      --encoding=UTF8 --locale=C.UTF-8 >"$dir/log" 2>&1 ||
      { cat "$dir/log" >&2; die "initdb failed in $dir, see above"; }
  fi
  launch "$dir" "$port" "${inside[@]}" "$bin/postgres" -D "$home/data" \
    -c "config_file=$home/postgresql.conf" -p "$port"
  await_start "$dir" postgres_answers "$port"
}

# postgres_answers PORT: succeeds when the server runs a query.
postgres_answers() {
  local psql=("$bin/psql")
  ! is_root || psql=(chroot "$tree" "$bin/psql")
  PGCONNECT_TIMEOUT=5 "${psql[@]}" -XAtq -h 127.0.0.1 -p "$1" -U postgres -d postgres \
    -c 'SELECT 1' >/dev/null 2>&1
}

# SIGINT is PostgreSQL's fast shutdown: open sessions are rolled back.
postgres_stop() {
  stop_process "$1/postgres" INT
}

postgres_kill() {
  signal_tree "$1/postgres" KILL
}
