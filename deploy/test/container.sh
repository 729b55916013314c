#!/usr/bin/env bash
# Builds the image as the Dockerfile says and runs docker-compose.yml with it, on
# a machine that no container registry can be reached from: the base images are
# made here, of Debian packages and the installed Go, under the names that the
# files use. Then it pushes an image and waits for its findings.
#
# Needs root on Debian, Go, the Debian archive and the Go module proxy, and about
# 6 GB of disk. It starts a Docker engine of its own and removes everything at the
# end. KEEP=1 leaves it all running; COLD=1 compiles without what is in the
# machine's build cache; ARM64=1 also compiles for arm64.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
work=${WORK:-$(mktemp -d "${TMPDIR:-/tmp}/tidewaiter-container.XXXXXX")}
mkdir -p "$work"
started=$SECONDS

step() { printf '\n== %s (%d s so far)\n' "$*" $((SECONDS - started)); }
say() { printf '   %s\n' "$*"; }
fail() { printf '\ncontainer.sh: %s\n' "$*" >&2; exit 1; }
expect() { # WHAT GOT WANT
  [ "$2" = "$3" ] || fail "$1: got '$2', want '$3'"
  say "$1: $2"
}

[ "$(id -u)" = 0 ] || fail "run this as root: it makes file systems and starts an engine"
go=$(command -v go) || fail "Go is not installed"
version=$(sed -n 's/^ARG GO_VERSION=//p' "$root/Dockerfile")
expect "Go of this machine, which the build image gets" "$("$go" env GOVERSION)" "go$version"

# --- The machine ------------------------------------------------------------

step "tools"
packages=()
need() { command -v "$1" >/dev/null || packages+=("$2"); }
need dockerd docker.io
need docker-compose docker-compose
need buildah buildah
need debootstrap debootstrap
need jq jq
need curl curl
need iptables iptables
[ -x /bin/busybox ] || [ -x /usr/bin/busybox ] || packages+=(busybox-static)
if [ ${#packages[@]} -gt 0 ]; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >"$work/apt.log" 2>&1 \
    || { tail -20 "$work/apt.log"; fail "cannot install ${packages[*]}"; }
  say "installed ${packages[*]}"
fi

export DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/docker-config
unset DOCKER_CONTEXT
storage=(--root "$work/storage" --runroot "$work/storage-run" --storage-driver overlay)
export CONTAINERS_REGISTRIES_CONF=$work/registries.conf BUILDAH_ISOLATION=chroot
echo 'unqualified-search-registries = ["docker.io"]' >"$CONTAINERS_REGISTRIES_CONF"
mkdir -p "$work/policy" "$DOCKER_CONFIG"
echo "{}" >"$DOCKER_CONFIG/config.json"
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$work/policy/policy.json"
build() { buildah "${storage[@]}" "$@"; }

compose_file=$work/docker-compose.yml
compose() {
  docker-compose --project-name tidewaiter --project-directory "$root" -f "$compose_file" -f "$root/deploy/compose/sample.yml" "$@"
}

engine=
stop_engine() {
  [ -n "$engine" ] || return 0
  kill "$engine" 2>/dev/null || return 0
  for _ in $(seq 60); do kill -0 "$engine" 2>/dev/null || break; sleep 0.5; done
}
cleanup() {
  local code=$?
  set +e
  if [ "$code" != 0 ] && [ -n "$engine" ]; then
    [ -e "$compose_file" ] && compose ps && compose logs --tail 40
    tail -20 "$work/dockerd.log"
  fi
  if [ "${KEEP:-}" = 1 ]; then
    echo "kept: export DOCKER_HOST=$DOCKER_HOST; engine $engine, all in $work"
    exit "$code"
  fi
  [ -n "$engine" ] && [ -e "$compose_file" ] && compose down --volumes --timeout 50 >/dev/null 2>&1
  stop_engine
  build rm --all >/dev/null 2>&1
  mount | awk -v w="$work/" 'index($3, w) == 1 { print $3 }' | sort -r | xargs -r umount -l
  rm -rf "$work"
  exit "$code"
}
trap cleanup EXIT

# --- Base images ------------------------------------------------------------

step "base images"
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
if [ ! -e "$work/debian/etc/os-release" ]; then
  debootstrap --variant=minbase --include=ca-certificates,postgresql "$codename" "$work/debian" >"$work/debootstrap.log" 2>&1 \
    || { tail -5 "$work/debootstrap.log"; fail "debootstrap failed"; }
fi
rm -rf "$work"/debian/var/cache/apt/archives/*.deb
server=$(basename "$(ls -d "$work"/debian/usr/lib/postgresql/*)")
say "Debian $codename with PostgreSQL $server"

# golang: Debian with Go where the official image has it.
golang() {
  local container mounted part
  container=$(build from scratch)
  mounted=$(build mount "$container")
  for part in bin sbin lib lib64 usr/bin usr/sbin usr/lib usr/lib64 usr/share/ca-certificates etc; do
    [ -e "$work/debian/$part" ] || continue
    mkdir -p "$mounted/$(dirname "$part")" && cp -a "$work/debian/$part" "$mounted/$part"
  done
  rm -rf "$mounted/usr/lib/postgresql" "$mounted/usr/lib/llvm"*
  mkdir -p "$mounted/usr/local" "$mounted/go" "$mounted/root" "$mounted/tmp" "$mounted/proc" "$mounted/sys" "$mounted/dev"
  chmod 1777 "$mounted/tmp"
  cp -a "$("$go" env GOROOT)" "$mounted/usr/local/go"
  build umount "$container" >/dev/null
  build config --env PATH=/go/bin:/usr/local/go/bin:/usr/sbin:/usr/bin:/sbin:/bin --env GOPATH=/go --env GOTOOLCHAIN=local "$container"
  build commit -q --rm "$container" "docker.io/library/golang:$version" >/dev/null
}
build inspect --type image "docker.io/library/golang:$version" >/dev/null 2>&1 || golang
say "golang:$version"

# --- The image --------------------------------------------------------------

step "buildah bud"
modules=$("$go" env GOMODCACHE)
(cd "$root" && "$go" mod download) # what is not there yet, by the ordinary client
compiled=$("$go" env GOCACHE)
[ "${COLD:-}" = 1 ] && compiled=$work/gocache && mkdir -p "$compiled"
bud() { # TAG [ARGS]
  local tag=$1; shift
  build bud --format docker --layers=false --pull-never --signature-policy "$work/policy/policy.json" \
    --volume "$modules:/modules" --volume "$compiled:/compiled" \
    --build-arg GOPROXY=off --build-arg GOMODCACHE=/modules --build-arg GOCACHE=/compiled \
    --build-arg VERSION=v0.0.0-test --build-arg REVISION=0123456789abcdef --build-arg CREATED=2026-01-01T00:00:00Z \
    "$@" --tag "$tag" "$root" >"$work/bud.log" 2>&1 || { tail -30 "$work/bud.log"; fail "buildah bud failed"; }
}
began=$SECONDS
bud tidewaiter
say "built in $((SECONDS - began)) s"
binary() { # IMAGE: the sum of its binary
  local c m
  c=$(build from --pull-never --signature-policy "$work/policy/policy.json" "$1"); m=$(build mount "$c")
  sha256sum <"$m/tidewaiter" | cut -d' ' -f1
  build umount "$c" >/dev/null; build rm "$c" >/dev/null
}
inside=$(binary localhost/tidewaiter)

# The same binary comes out elsewhere: of another directory, by another user's
# environment.
copy=$work/elsewhere/tidewaiter
rm -rf "$copy" && mkdir -p "$copy"
cp -a "$root"/{go.mod,go.sum,cmd,internal,migrations} "$copy/"
shared=$("$go" env GOCACHE)
(cd "$copy" && HOME=$work/elsewhere GOMODCACHE=$modules GOCACHE=$shared CGO_ENABLED=0 "$go" build -trimpath -buildvcs=false \
  -ldflags "-s -w -buildid= -X main.version=v0.0.0-test" -o "$work/again" ./cmd/tidewaiter)
expect "sha256 of the binary, built again elsewhere" "$(sha256sum <"$work/again" | cut -d' ' -f1)" "$inside"
rm -rf "$work/elsewhere"
if [ "${ARM64:-}" = 1 ]; then
  # By the arguments that buildx sets: this buildah looks for a golang of the target's architecture.
  bud tidewaiter-arm64 --build-arg TARGETOS=linux --build-arg TARGETARCH=arm64
  c=$(build from --pull-never --signature-policy "$work/policy/policy.json" localhost/tidewaiter-arm64); m=$(build mount "$c")
  expect "machine of the arm64 binary (183 is AArch64)" "$(od -An -tu2 -j18 -N2 "$m/tidewaiter" | tr -d ' ')" 183
  build umount "$c" >/dev/null; build rm "$c" >/dev/null
fi

# --- The engine -------------------------------------------------------------

step "Docker engine"
# In a network of its own: ports of this machine may be taken, and its firewall
# stays as it is.
unshare --net sh -c 'busybox ip link set lo up; exec "$@"' sh \
  dockerd --data-root "$work/docker" --exec-root "$work/docker-exec" --pidfile "$work/docker.pid" --host "$DOCKER_HOST" \
  --group root --log-level warn >"$work/dockerd.log" 2>&1 &
engine=$!
http() { nsenter --target "$engine" --net curl "$@"; }
for _ in $(seq 60); do
  docker info >/dev/null 2>&1 && break
  kill -0 "$engine" 2>/dev/null || { tail -20 "$work/dockerd.log"; fail "the engine does not start"; }
  sleep 0.5
done
say "Docker $(docker version --format '{{.Server.Version}}'), $(docker-compose version --short 2>/dev/null) of compose"

rm -f "$work/tidewaiter.tar"
build push -q --signature-policy "$work/policy/policy.json" localhost/tidewaiter "docker-archive:$work/tidewaiter.tar:tidewaiter:latest"
docker load -q -i "$work/tidewaiter.tar" >/dev/null

# postgres: as the official image, as far as the compose file goes.
cat >"$work/debian/entrypoint" <<'END'
#!/bin/sh
# Makes a cluster on the first start, as the official image does.
set -e
export PATH="$(ls -d /usr/lib/postgresql/*/bin):$PATH"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256 >/dev/null
  rm /tmp/password
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "CREATE DATABASE \"$POSTGRES_USER\"" | postgres --single -D "$PGDATA" postgres >/dev/null
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
END
chmod +x "$work/debian/entrypoint"
rm -rf "$work/debian/var/lib/postgresql"; mkdir -p "$work/debian/var/lib/postgresql/data"
chroot "$work/debian" chown -R postgres:postgres /var/lib/postgresql
install -d -m 3777 "$work/debian/run/postgresql" # a tmpfs on it has its mode
tar -C "$work/debian" --exclude=./proc --exclude=./sys --exclude=./dev --exclude=./var/lib/apt --exclude=./usr/share/doc -c . \
  | docker import -c 'ENV PGDATA=/var/lib/postgresql/data' -c 'ENTRYPOINT ["/entrypoint"]' - postgres:made >/dev/null
# Of a file, because import knows no STOPSIGNAL.
printf 'FROM postgres:made\nSTOPSIGNAL SIGINT\n' | DOCKER_BUILDKIT=0 docker build -q -t postgres:17 - >/dev/null 2>"$work/postgres.log" \
  || { cat "$work/postgres.log"; fail "the image of Postgres cannot be made"; }

# registry: CNCF Distribution and the one tool its health check needs.
mkdir -p "$work/registry/bin" "$work/registry/etc/distribution" "$work/registry/var/lib/registry" "$work/registry/tmp"
(cd "$root/deploy/test" && CGO_ENABLED=0 "$go" build -o "$work/registry/bin/registry" github.com/distribution/distribution/v3/cmd/registry)
cp "$(command -v busybox)" "$work/registry/bin/busybox"
for name in sh wget; do ln -sf busybox "$work/registry/bin/$name"; done
tar -C "$work/registry" -c . | docker import -c 'ENV PATH=/bin' -c 'ENV OTEL_TRACES_EXPORTER=none' -c 'ENTRYPOINT ["registry"]' \
  -c 'CMD ["serve", "/etc/distribution/config.yml"]' - registry:3 >/dev/null

# What is pushed: the packages of Debian, and one that is known to be bad.
push=localhost:5000/demo/shop:1.0
mkdir -p "$work"/demo/{etc,var/lib/dpkg,usr/lib/node_modules/lodash}
cp "$work/debian/etc/os-release" "$work/demo/etc/" && cp "$work/debian/var/lib/dpkg/status" "$work/demo/var/lib/dpkg/"
echo '{"name": "lodash", "version": "4.17.15", "license": "MIT"}' >"$work/demo/usr/lib/node_modules/lodash/package.json"
tar -C "$work/demo" -c . | docker import - "$push" >/dev/null

say "image: $(docker image inspect tidewaiter --format '{{.Size}}' | awk '{printf "%.0f MB", $1/1e6}') unpacked," \
  "$(docker save tidewaiter | gzip -1 | wc -c | awk '{printf "%.0f MB", $1/1e6}') packed (gzip -1)"
expect "user" "$(docker image inspect tidewaiter --format '{{.Config.User}}')" 65532:65532
expect "volumes" "$(docker image inspect tidewaiter --format '{{range $k, $v := .Config.Volumes}}{{$k}} {{end}}')" "/tmp /var/cache/tidewaiter /var/lib/tidewaiter "
expect "health check" "$(docker image inspect tidewaiter --format '{{.Config.Healthcheck.Test}}')" "[CMD /tidewaiter health]"
expect "licence" "$(docker image inspect tidewaiter --format '{{index .Config.Labels "org.opencontainers.image.licenses"}}')" Apache-2.0
expect "revision" "$(docker image inspect tidewaiter --format '{{index .Config.Labels "org.opencontainers.image.revision"}}')" 0123456789abcdef
expect "created" "$(docker image inspect tidewaiter --format '{{index .Config.Labels "org.opencontainers.image.created"}}')" 2026-01-01T00:00:00Z
files=$(docker create tidewaiter); docker export "$files" | tar -t | grep -v '/$' | grep -vE '^(dev|proc|sys)/|^\.dockerenv$' | sort >"$work/files"; docker rm "$files" >/dev/null
say "files: $(tr '\n' ' ' <"$work/files")"
expect "files that do not belong there" "$(grep -vxE 'tidewaiter|zoneinfo.zip|etc/ssl/certs/ca-certificates.crt|etc/(hostname|hosts|resolv.conf|mtab)' "$work/files" | tr '\n' ' ')" ""

# --- Compose ----------------------------------------------------------------

step "docker compose up"
# This compose is older than the key name; it is given on its command line.
sed '/^name:/d' "$root/docker-compose.yml" >"$compose_file"
expect "names of the images" "$(compose config | awk '$1 == "image:" { print $2 }' | sort -u | tr '\n' ' ')" "postgres:17 registry:3 tidewaiter "
compose up -d --no-build 2>"$work/up.log" || { cat "$work/up.log"; fail "docker compose up failed"; }
id() { compose ps -q "$1"; }
ours=$(id tidewaiter)
ready() { [ "$(http -s -o /dev/null -w '%{http_code}' http://127.0.0.1:8080/readyz)" = 200 ]; }
for _ in $(seq 600); do ready && break; sleep 0.2; done
ready || fail "Tidewaiter is not ready: $(http -s http://127.0.0.1:8080/readyz)"

inspect() { docker inspect "$ours" --format "$1"; }
expect "read-only root" "$(inspect '{{.HostConfig.ReadonlyRootfs}}')" true
expect "capabilities dropped" "$(inspect '{{.HostConfig.CapDrop}}')" "[ALL]"
pid=$(inspect '{{.State.Pid}}')
of() { awk -v k="$2:" '$1 == k { print $2 }' "/proc/$1/status"; }
processes() { echo "$pid"; pgrep -P "$pid" || true; }
for _ in $(seq 50); do [ "$(processes | wc -l)" = 3 ] && break; sleep 0.2; done
expect "processes: the service and two that read images" "$(processes | wc -l)" 3
for p in $(processes); do
  expect "process $p, user" "$(of "$p" Uid)" 65532
  expect "process $p, capabilities" "$(of "$p" CapEff)$(of "$p" CapBnd)" 00000000000000000000000000000000
  expect "process $p, no new privileges" "$(of "$p" NoNewPrivs)" 1
done
if compose logs tidewaiter 2>&1 | grep -q 'cannot confine'; then
  say "SANDBOX: $(compose logs tidewaiter 2>&1 | grep -m1 'cannot confine')"
  fail "the workers are not confined under the default seccomp profile"
fi
say "workers are confined: Landlock, and $(of "$(pgrep -P "$pid" | head -1)" Seccomp_filters) seccomp filters where the service has $(of "$pid" Seccomp_filters)"

# --- A push -----------------------------------------------------------------

step "push"
token=$(compose exec -T tidewaiter /tidewaiter token create test </dev/null | tr -d '\r\n')
case $token in tw_*) ;; *) fail "no token: $token" ;; esac
ask() { http -sS -G --max-time 90 -H "Authorization: Bearer $token" "http://127.0.0.1:8080/api/v1/$1" "${@:2}"; }
sleep 5
resident=0
for p in $(processes); do
  kib=$(of "$p" VmRSS); resident=$((resident + kib))
  say "idle, process $p: $((kib / 1024)) MiB resident, $((($(of "$p" RssAnon)) / 1024)) MiB of it its own"
done
say "idle, together: $((resident / 1024)) MiB, shared pages counted each time; the container's cgroup: $(docker stats --no-stream --format '{{.MemUsage}}' "$ours")"
for _ in $(seq 100); do http -sf -o /dev/null http://127.0.0.1:5000/v2/ && break; sleep 0.2; done
docker push -q "$push" >/dev/null || fail "the push failed"
pushed=$(date +%s%N)
state=
for _ in $(seq 30); do
  state=$(ask image --data-urlencode "ref=$push" --data-urlencode wait=60s | jq -r '.state // empty')
  [ "$state" = done ] && break
  case $state in failed | unsupported | too_large) ask image --data-urlencode "ref=$push"; fail "the scan ended $state" ;; esac
  sleep 0.2
done
answered=$(date +%s%N)
expect "state" "$state" done
findings=$(ask findings --data-urlencode "ref=$push" --data-urlencode limit=500)
for want in CVE-2020-8203 CVE-2021-23337; do
  echo "$findings" | grep -q "$want" || { echo "$findings" | head -c 2000; fail "$want of lodash 4.17.15 is not found"; }
done
say "findings: $(echo "$findings" | jq .counts.total), CVE-2020-8203 and CVE-2021-23337 of lodash among them"
say "from the end of the push to the findings: $(((answered - pushed) / 1000000)) ms"

# The query that KEDA scales workers by holds for this schema.
query=$(sed -n '/query: >-/,/targetQueryValue/p' "$root/deploy/kubernetes/components/keda/scaledobject.yaml" | sed '1d;$d')
expect "length of the line, as KEDA asks" "$(compose exec -T postgres psql -U tidewaiter -tAc "$query" </dev/null | tr -d '\r')" 0

expect "files changed outside of volumes" "$(docker diff "$ours" | grep -vE '^[ACD] /(etc|tmp|var|var/lib|var/cache|var/lib/tidewaiter|var/cache/tidewaiter|etc/tidewaiter|etc/tidewaiter/tidewaiter.yaml)$' || true)" ""
for _ in $(seq 60); do [ "$(inspect '{{.State.Health.Status}}')" = healthy ] && break; sleep 0.5; done
expect "health" "$(inspect '{{.State.Health.Status}}')" healthy
expect "health --ready" "$(docker exec "$ours" /tidewaiter health --ready)" ready

# --- Stop and start ---------------------------------------------------------

step "stop and start"
began=$(date +%s%N)
compose stop tidewaiter 2>/dev/null
say "stopped in $((($(date +%s%N) - began) / 1000000)) ms"
expect "exit code after SIGTERM" "$(inspect '{{.State.ExitCode}}')" 0
docker start "$ours" >/dev/null
for _ in $(seq 600); do ready && break; sleep 0.05; done
ready || fail "not ready after a restart"
begin=$(date -d "$(inspect '{{.State.StartedAt}}')" +%s%N)
say "from start to ready, with a database that is there: $((($(date +%s%N) - begin) / 1000000)) ms"
again=$(ask findings --data-urlencode "ref=$push" --data-urlencode limit=500 | jq .counts.total)
expect "findings after the restart" "$again" "$(echo "$findings" | jq .counts.total)"

step "done"
