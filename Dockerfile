# Builds one static binary and puts it into an image that holds nothing else
# but certificates, time zones and an empty data directory.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/tidewaiter ./cmd/tidewaiter \
 && mkdir -p /out/tmp /out/var/lib/tidewaiter && chmod 1777 /out/tmp \
 && cp "$(go env GOROOT)/lib/time/zoneinfo.zip" /out/zoneinfo.zip

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /out/ /
ENV ZONEINFO=/zoneinfo.zip HOME=/var/lib/tidewaiter TIDEWAITER_VULNDB_DIR=/var/lib/tidewaiter/vulndb
USER 65532:65532
VOLUME /var/lib/tidewaiter
EXPOSE 8080
ENTRYPOINT ["/tidewaiter"]
CMD ["serve"]
