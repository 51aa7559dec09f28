# make help lists the targets. Everything runs as it does for continuous integration (.ci/run).

# The Azure CLI that the tests with real clients use.
AZURE_CLI := 2.91.0
VENV_STAMP := .venv/azure-cli-$(AZURE_CLI)
# What the Python clients need, and a copy of it beside them when it was installed.
SDK := test/python/requirements.txt
SDK_STAMP := .venv/sdk/requirements.txt

# An Azure CLI in .venv comes before one on the path.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help build build-libcrypto demo test hsm torture check bench venv clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build the static binary bin/latchkey
	CGO_ENABLED=0 go build -trimpath -o bin/latchkey ./cmd/latchkey

# OpenSSL's archive is linked in, so this binary is static too. netgo and osusergo keep the C library's
# resolver out of it, which cannot be static.
LIBCRYPTO := -tags libcrypto,netgo,osusergo -ldflags '-linkmode external -extldflags "-static"'

build-libcrypto: ## The same with OpenSSL's RSA, three times as fast; needs cgo and OpenSSL 3 with its static library
	CGO_ENABLED=1 go build -trimpath $(LIBCRYPTO) -o bin/latchkey ./cmd/latchkey

demo: build ## Show the whole product in a minute; uses the Azure CLI when there is one
	@bin/latchkey demo

test: check venv ## Check, then run all tests with the race detector
	go test -race $$(go list ./... | grep -v '/test$$')
	@if printf '#include <openssl/evp.h>\n' | $${CC:-cc} -E - >/dev/null 2>&1; then go test -race -tags libcrypto ./internal/fastrsa; \
	  else echo "OpenSSL's RSA was not tested, which needs a C compiler and the headers of OpenSSL 3"; fi
	go test -race -count=1 -timeout 20m ./test  # builds the binary itself, which the test cache does not see

hsm: ## The tests with keys in a PKCS #11 token; needs cgo and SoftHSM2 (libsofthsm2, softhsm2)
	go vet -tags pkcs11 ./...
	CGO_ENABLED=1 go test -race -tags pkcs11 -count=1 ./internal/pkcs11
	go test -count=1 -run 'RootKeyInToken|KeysInHSM' ./test

# How long make torture lets each fuzz target run.
FUZZTIME := 60s

torture: ## The long forms of the tests (bit by bit, crash by crash), then each fuzz target for a minute; takes hours
	LATCHKEY_TORTURE=1 go test -timeout 2h ./internal/...
	LATCHKEY_TORTURE=1 go test -count=1 -timeout 1h -run '^TestKill$$' ./test
	@failed=; for pkg in $$(go list ./internal/...); do \
	  for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$target of $$pkg"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || failed="$$failed $$target"; \
	  done; done; \
	  test -z "$$failed" || { echo "failed:$$failed"; exit 1; }

check: ## Formatting, go vet, staticcheck, go.mod
	@files=$$(find . -name '*.go' -not -path './.venv/*' -not -path '*/node_modules/*' | xargs gofmt -l); \
	  test -z "$$files" || { echo "not formatted with gofmt:"; echo "$$files"; exit 1; }
	go vet ./...
	go tool staticcheck ./...
	@out=$$(go mod tidy -diff 2>&1) || case "$$out" in \
	  *"diff current/"*) echo "$$out"; echo "go.mod or go.sum is not tidy: run go mod tidy"; exit 1 ;; \
	  *) echo "go.mod was not checked, which needs the module proxy:"; echo "$$out" | tail -n 1 ;; esac

bench: ## Run all benchmarks, without cgo like the binary
	CGO_ENABLED=0 go test -run '^$$' -bench . -benchmem ./...

venv: ## Install the Azure CLI and the SDK for Python into .venv for the tests (once; takes a minute or two)
	@test -e $(VENV_STAMP) || { echo "installing azure-cli $(AZURE_CLI) into .venv" && python3 -m venv .venv && \
	  .venv/bin/python -m pip install --quiet --disable-pip-version-check azure-cli==$(AZURE_CLI) && touch $(VENV_STAMP); } || \
	  echo "no Azure CLI was installed: this needs python3 with venv and a package index; tests that need it are skipped"
	@cmp -s $(SDK) $(SDK_STAMP) || { echo "installing $(SDK) into .venv/sdk" && python3 -m venv .venv/sdk && \
	  .venv/sdk/bin/python -m pip install --quiet --disable-pip-version-check -r $(SDK) && cp $(SDK) $(SDK_STAMP); } || \
	  echo "no Azure SDK for Python was installed: this needs python3 with venv and a package index; tests that need it are skipped"

clean: ## Remove what the targets made
	rm -rf bin .venv
