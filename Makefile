# Builds the Lambda artifact. `sam build` runs the target build-<logical id> here, with ARTIFACTS_DIR set;
# `make build-UpdateVoiceCallFunction ARTIFACTS_DIR=/some/empty/folder` builds the same without SAM.
#
# Why not SAM's own Python builder: it leaves the bytecode out, and /var/task is read-only, so that every
# cold start would compile everything anew (imports and a first client, Python 3.13 on the artifact alone: 1.0 s
# instead of 0.45 s).
#
# Any Python with pip will do for building (the wheels are chosen for Lambda, not for this machine).
PYTHON ?= python3
RUNTIME := 3.13

# Said once, in the template: an artifact for another architecture deploys well and fails at its first import.
ARCHITECTURE ?= $(shell sed -n 's/^ *Architectures: \[\(.*\)\]/\1/p' template.yaml)
MACHINE := $(if $(filter arm64,$(ARCHITECTURE)),aarch64,$(filter x86_64,$(ARCHITECTURE)))

# Lambda's python3.13 runs on Amazon Linux 2023, whose glibc is 2.34. pip takes each tag literally, so that
# every manylinux a wheel may carry is named.
PLATFORMS := manylinux2014_$(MACHINE) manylinux_2_17_$(MACHINE) manylinux_2_28_$(MACHINE) manylinux_2_34_$(MACHINE)

# The lock has every package that is installed, with the hashes of its wheels. pip refuses any other file, whichever
# index it comes from. The artifact says which wheels pip took, as sha256sum would, for `python3 -m tools sbom`.
REPORT = $(ARTIFACTS_DIR)/pip-report.json
define LIST_WHEELS
import json, sys; \
downloads = [one["download_info"] for one in json.load(open(sys.argv[1], encoding="utf-8"))["install"]]; \
lines = [one["archive_info"]["hashes"]["sha256"] + "  " + one["url"].rpartition("/")[2] for one in downloads]; \
print(*lines, sep="\n")
endef

# Bytecode must come from the runtime's own minor version. The candidates are tried by running them: pyenv
# puts a python3.13 on the PATH that only says it is not there.
COMPILERS := $(PYTHON) python$(RUNTIME) \
	$(shell ls "$$(pyenv root 2>/dev/null)"/versions/$(RUNTIME).*/bin/python$(RUNTIME) 2>/dev/null)
IS_RUNTIME := import sys; sys.exit(sys.version_info[:2] != tuple(map(int, "$(RUNTIME)".split("."))))

# The only services whose descriptions (botocore's models, endpoint rules and paginators) are built in: those that the
# code calls, and those that botocore asks for credentials. The others are 18 MB unzipped, and no client of ours
# reads them; a maintainer of botocore says that they may go (https://github.com/boto/botocore/issues/1629). A client
# of another service would raise UnknownServiceError: add its folder here. tests/stack/test_build.py makes every call.
SERVICES := connect dynamodb secretsmanager sns sqs
SIGN_IN := signin sso sso-oidc sts
KEPT := $(SERVICES) $(SIGN_IN)

# Every function runs from the same artifact; each is built under its own name, as SAM asks.
TARGETS := build-UpdateVoiceCallFunction build-ContactQueueFunction build-ReconcileFunction

.PHONY: $(TARGETS)
$(TARGETS):
	@test -n "$(ARTIFACTS_DIR)" || { echo "ARTIFACTS_DIR is not set" >&2; exit 2; }
	@test -n "$(MACHINE)" || { echo "ARCHITECTURE is neither x86_64 nor arm64: '$(ARCHITECTURE)'" >&2; exit 2; }
	@test -z "$$(ls -A "$(ARTIFACTS_DIR)" 2>/dev/null)" || { echo "$(ARTIFACTS_DIR) is not empty" >&2; exit 2; }
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-warn-conflicts --root-user-action=ignore \
		--no-compile --target "$(ARTIFACTS_DIR)" --report "$(REPORT)" \
		--no-deps --require-hashes --requirement requirements.lock \
		--only-binary=:all: --implementation cp --python-version $(RUNTIME) $(PLATFORMS:%=--platform %)
	@$(PYTHON) -c '$(LIST_WHEELS)' "$(REPORT)" > "$(ARTIFACTS_DIR)/wheels.sha256"
	@rm "$(REPORT)"
	cp -R src/voicecall_sync "$(ARTIFACTS_DIR)/"
	@# Out: the packages' commands, which nothing in Lambda calls, the installer's lists of what it put where, which
	@# name those and differ from one machine to the next, and the bytecode of this machine's Python.
	rm -rf "$(ARTIFACTS_DIR)/bin" "$(ARTIFACTS_DIR)"/*.dist-info/RECORD
	find "$(ARTIFACTS_DIR)" -type d -name __pycache__ -prune -exec rm -rf {} +
	@# A name that botocore does not have is a spelling mistake, or is spelled anew in its next version.
	@for service in $(KEPT); do \
		test -d "$(ARTIFACTS_DIR)/botocore/data/$$service" || { echo "botocore has no service $$service" >&2; exit 1; }; \
	done
	@# Folders only: the files beside them (endpoints, partitions, retries, defaults) belong to all services.
	find "$(ARTIFACTS_DIR)/botocore/data" "$(ARTIFACTS_DIR)/boto3/data" -mindepth 1 -maxdepth 1 -type d \
		$(KEPT:%=! -name %) -exec rm -rf {} +
	@# Unchecked: trusted without looking at the source's time, which zipping and unzipping change.
	@for python in $(COMPILERS); do \
		if "$$python" -c '$(IS_RUNTIME)' 2>/dev/null; then \
			echo "compiling with $$python"; \
			exec "$$python" -m compileall -q -j 0 --invalidation-mode unchecked-hash \
				-s "$(ARTIFACTS_DIR)" -p /var/task "$(ARTIFACTS_DIR)"; \
		fi; \
	done; \
	echo "no Python $(RUNTIME) found: built without bytecode, every cold start takes about half a second longer" >&2
	@# Lambda reads the files as a user of its own. And two builds are alike, whatever this machine's umask and the hour.
	chmod -R u=rwX,go=rX "$(ARTIFACTS_DIR)"
	find "$(ARTIFACTS_DIR)" -exec env TZ=UTC touch -t 202001010000 {} +
	@find "$(ARTIFACTS_DIR)" -type f -exec cat {} + | wc -c | awk '{ printf "unzipped: %.1f MB\n", $$1 / 1000000 }'
