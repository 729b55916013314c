# Every target is a short way to say something longer; `make` alone lists them.
.DEFAULT_GOAL := help
SHARED ?= ../shared
BENCH ?= # more arguments of bench-engine and bench-rematch
BENCH_IMAGES := alpine-3.14 alpine-3.16-py debian-12 go-app micro-01 micro-02 micro-03 micro-04 micro-05 micro-06 py-django windows-app # of the corpus, whose packages bench-rematch draws
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

GOLANGCI_VERSION := v2.12.2
GOLANGCI := bin/golangci-lint-$(GOLANGCI_VERSION)
# A shared cache remembers files of other clones by their paths, and stumbles when they are gone.
export GOLANGCI_LINT_CACHE := $(CURDIR)/bin/.lint-cache
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/tidewaiter, one static file (the first build takes minutes)
	CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidewaiter ./cmd/tidewaiter

.PHONY: quickstart
quickstart: ## try it: local Postgres, registry, sample image, findings
	go run ./cmd/quickstart

.PHONY: test
test: ## run all tests
	go test ./...

.PHONY: race
race: ## run the tests that touch neither syft nor grype with the race detector
	go list -f '{{.ImportPath}} {{join .Deps " "}} {{join .TestImports " "}} {{join .XTestImports " "}}' ./... \
	  | grep -v -e anchore/ -e internal/app -e internal/match -e internal/catalog | cut -d' ' -f1 | xargs go test -race

.PHONY: test-deploy
test-deploy: ## check chart, kustomizations, compose file and Dockerfile
	cd deploy/test && go vet ./... && go test ./...

.PHONY: test-container
test-container: ## build the image and push one through docker-compose.yml; as root on Debian
	deploy/test/container.sh

.PHONY: parity
parity: ## compare with syft and the grype CLI over images and databases in SHARED=DIR
	TIDEWAITER_SHARED=$(abspath $(SHARED)) go test -tags parity -run TestParity -timeout 3h -v ./internal/catalog ./internal/match ./internal/app

.PHONY: chaos
chaos: ## kill the service and its database during pushes and changes of build, lose deliveries, send hostile images
	go test -tags chaos -run "TestEveryPush|TestRestarting|TestNothingPushed|TestAChangeOfBuild|TestHostile|TestTheServiceStays" -timeout 120m -v ./internal/app
	go test -tags chaos -run TestTwoThousand -timeout 30m -v ./internal/reconcile

.PHONY: bench
bench: ## measure functions, then a whole service over images in SHARED=DIR
	go test -run '^$$' -bench . -benchmem ./...
	go run ./cmd/bench accept
	go run ./cmd/bench burst
	go build -o bin/grype github.com/anchore/grype/cmd/grype
	go run ./cmd/bench scan --images $(SHARED)/data/images --database $(firstword $(wildcard $(SHARED)/data/vulndb/full/*.tar.zst)) --grype bin/grype

.PHONY: bench-engine
bench-engine: build ## measure the scan engine beside the raw limit and the grype CLI over SHARED=DIR
	go build -o bin/grype github.com/anchore/grype/cmd/grype
	go run ./cmd/bench engine --images $(SHARED)/data/images --database $(firstword $(wildcard $(SHARED)/data/vulndb/full/*.tar.zst)) \
	  --tidewaiter bin/tidewaiter --grype bin/grype $(BENCH)

.PHONY: bench-rematch
bench-rematch: build ## measure a change of database over 100,000 images made of the packages of the images, databases and SBOMs in SHARED=DIR
	go build -o bin/grype github.com/anchore/grype/cmd/grype
	mkdir -p bin/sboms
	for image in $(BENCH_IMAGES); do bin/tidewaiter scan -q -o syft-json --db $(firstword $(wildcard $(SHARED)/data/vulndb/small/*.tar.zst)) --file bin/sboms/$$image.json oci-dir:$(SHARED)/data/images:$$image; done
	go run ./cmd/bench rematch --before $(SHARED)/data/vulndb/small-old --after $(SHARED)/data/vulndb/small --grype bin/grype \
	  $(addprefix --sbom ,$(wildcard $(SHARED)/data/vulndb/sboms/*.json)) $(addprefix --sbom bin/sboms/,$(addsuffix .json,$(BENCH_IMAGES))) $(BENCH)

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: lint
lint: $(GOLANGCI) ## gofmt, go vet and golangci-lint
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	  if [ -n "$$unformatted" ]; then echo "not formatted (make fmt):"; echo "$$unformatted"; exit 1; fi
	go vet -tags chaos,parity ./...
	$(GOLANGCI) run ./...

$(GOLANGCI):
	GOBIN=$(CURDIR)/bin/.install go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv bin/.install/golangci-lint $@ && rmdir bin/.install

.PHONY: generate
generate: ## write the generated pages and files again
	go generate ./...

.PHONY: check-generated
check-generated: ## fail when a generated file is out of date
	@state() { git status --porcelain; git diff; }; before=$$(state); $(MAKE) --no-print-directory generate; \
	  if [ "$$before" != "$$(state)" ]; then \
	    echo "generated files were out of date; they are written now, commit them:"; git status --short; exit 1; fi

.PHONY: clean
clean: ## remove what was built and the quickstart's data
	rm -rf bin quickstart-data
