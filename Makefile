# make bench   the main job: verify, measure, project and report on this machine's best adapter (into out/)
# make test    all tests, every shader under a second WGSL compiler, the report page in a browser
# make every-case   the tests of kernels with every case of the verification suite (half an hour or more)
# make web     the page that does all of it in a browser, into out/web: a folder for any static host (7 minutes from nothing)
# make web-test   that page in headless Chromium on its software GPU
# make other-browsers-test   the page of `make web` in the engines of Safari (WebKitGTK) and of Firefox (as root)
# make validate-vulkan   the verification suite under Vulkan's validation layers
# make verify-matrices   the verification suite, cooperative matrices included, on a current Mesa in a folder (over 10 minutes;
#              ARGS="--only matrix8 --sample": 8 minutes)
# make compile-elsewhere   what that Mesa's drivers of seven devices offer, and every pipeline through their compilers
# make spirv-val   every pipeline as SPIR-V under the validator of that Mesa's distribution, which knows matrices
# make lab     every pipeline through the compilers of six GPUs that are not there: lab/results, specs/compilers.json and
#              the tables of docs/KERNELS.md (7 minutes); PEERS=1 adds ggml's kernels
# make fleet-test   `supernode fleet` on one machine: OpenMPI and MPICH, a killed rank, outliers, a shaped network, Slurm (as root)
# make picture   docs/page.png, the README's picture of the report page, from the records in results/
# make lint    formatting, clippy and docs, warnings denied
# Each installs what it needs on Debian and Ubuntu, and says so; what takes a current Mesa puts it into target/ instead.

CARGO ?= cargo
# Mesa's device-select layer looks for a display and complains where there is none.
export NODEVICE_SELECT = 1

.PHONY: bench test every-case browser-test web web-test other-browsers-test second-compiler validate-vulkan verify-matrices compile-elsewhere spirv-val lab fleet-test picture lint driver

bench: driver
	$(CARGO) run --release --locked -- run $(ARGS)

test: driver
	$(CARGO) test --locked
	$(CARGO) test --locked --no-default-features
	@sh tests/second-compiler/run.sh
	@sh tests/browser/run.sh

every-case: driver
	EVERY_CASE=1 $(CARGO) test --locked --test gpu --test bounds

# The report page in headless Chromium; SCREENSHOTS=FOLDER leaves pictures there.
browser-test:
	@sh tests/browser/run.sh

web:
	@sh web/build.sh

web-test:
	@sh tests/web/run.sh

other-browsers-test:
	@sh tests/web/others.sh

# Tint, the compiler of Dawn and Chromium, through an npm package.
second-compiler:
	@sh tests/second-compiler/run.sh

validate-vulkan: driver
	@sh tests/validate-vulkan.sh

# A current Mesa's software driver multiplies matrices of 8 x 8, those of older ones none. BUILD=debug takes the program that
# the tests have built.
BUILD ?= release
verify-matrices:
	@sh tests/current-mesa/install.sh
	$(CARGO) build $(if $(filter release,$(BUILD)),--release) --locked
	sh tests/current-mesa/run.sh llvmpipe $${CARGO_TARGET_DIR:-target}/$(BUILD)/supernode verify --backend vulkan $(ARGS)

# Nothing runs on these devices, which are not there; LIMIT_S seconds each (600), DEVICES="apple-m1 adreno-740" for some.
compile-elsewhere:
	@sh tests/current-mesa/install.sh
	$(CARGO) build --release --locked
	@sh tests/current-mesa/compile.sh $(DEVICES)

spirv-val:
	@sh tests/current-mesa/install.sh || echo "spirv-val: NOT RUN on cooperative matrices, unless the installed one is new enough"
	$(CARGO) test --locked --test second_compiler spirv

lab:
	@PEERS=$(PEERS) DEVICES="$(DEVICES)" sh lab/run.sh

# PARTS="short slow" for some of its parts, which the script names.
fleet-test:
	@sh tests/fleet/run.sh $(PARTS)

picture:
	@sh tests/browser/picture.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --all-targets --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

driver:
	@sh tests/install-driver.sh
