# One static binary in an image that holds nothing else but certificates, time
# zones and empty directories. The same source, Go and arguments make the same
# binary on any machine.
#
#   docker build -t tidewaiter --build-arg VERSION=v1.2.3 --build-arg REVISION=$(git rev-parse HEAD) .
#   docker buildx build --platform linux/amd64,linux/arm64 -t tidewaiter .
ARG GO_VERSION=1.26.8

# Compiles on the builder's own architecture for the target's.
FROM --platform=$BUILDPLATFORM golang:${GO_VERSION} AS build
WORKDIR /src
# Where there is no internet: a mirror of the module proxy, or GOPROXY=off and
# caches that were brought along and mounted.
ARG GOPROXY
ARG GOMODCACHE=/go/pkg/mod
ARG GOCACHE=/go/cache
COPY go.mod go.sum ./
COPY cmd/ cmd/
COPY internal/ internal/
COPY migrations/ migrations/
ARG VERSION=dev
ARG TARGETOS
ARG TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/go/cache \
    CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -buildvcs=false \
      -ldflags "-s -w -buildid= -X main.version=${VERSION}" -o /out/root/tidewaiter ./cmd/tidewaiter \
 && mkdir -p /out/root/tmp /out/root/etc/tidewaiter /out/var/lib/tidewaiter /out/var/cache/tidewaiter \
 && chmod 1777 /out/root/tmp \
 && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /out/root/zoneinfo.zip

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/root/ /
COPY --from=build --chown=65532:65532 /out/var/ /var/
ENV ZONEINFO=/zoneinfo.zip HOME=/var/lib/tidewaiter XDG_CACHE_HOME=/var/cache
USER 65532:65532
# The root file system can be read-only. Vulnerability databases, to be kept;
# layers that were read, which save reading them again; files of a scan while it
# runs.
VOLUME ["/var/lib/tidewaiter", "/var/cache/tidewaiter", "/tmp"]
EXPOSE 8080
# A configuration mounted at /etc/tidewaiter/tidewaiter.yaml is found.
ENTRYPOINT ["/tidewaiter"]
CMD ["serve"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 CMD ["/tidewaiter", "health"]

ARG VERSION=dev
ARG REVISION=
ARG CREATED=
LABEL org.opencontainers.image.title="Tidewaiter" \
      org.opencontainers.image.description="Says what is vulnerable in the images of a registry, from the moment they are pushed." \
      org.opencontainers.image.source="https://github.com/tidewaiter/tidewaiter" \
      org.opencontainers.image.documentation="https://github.com/tidewaiter/tidewaiter/tree/main/docs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}"
