# The daemon as an image: one static binary and the certificates it trusts.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) -t persistor .
#
# There is no HEALTHCHECK: it would need a program in the image to ask with, and
# orchestrators ask /healthz and /readyz over HTTP by themselves. A daemon that
# cannot go on ends, and a restart policy brings it back.

ARG GO_IMAGE=golang:1.26.8
FROM ${GO_IMAGE} AS build
WORKDIR /src
# Dependencies first: they change less often than the sources.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
ARG COMMIT=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /persistor ./cmd/persistor

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /persistor /persistor
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
# In a container, this machine's loopback is nobody's.
ENV PERSISTOR_LISTEN=0.0.0.0:9464
EXPOSE 9464
ENTRYPOINT ["/persistor"]
CMD ["run"]
