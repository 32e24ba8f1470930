# pause: `make help` lists the targets. scripts/fetch.mk has what tests fetch or build for themselves.

# The platforms by their OCI names, in the image's order.
KNOWN := 386 amd64 arm/v6 arm/v7 arm64 loong64 ppc64le riscv64 s390x
ARCHS ?= $(KNOWN)
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^$$/s/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= localhost/pause:$(VERSION)

# This machine's platform.
HOST := $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')

.DELETE_ON_ERROR:
.SUFFIXES:
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Prints a line per result. V=1 prints the commands.
ifeq ($(V),)
.SILENT:
quiet := --quiet
endif

# Packages and kernels are fetched while cargo compiles. Two of cargo wait for each other.
ifeq ($(filter -j% --jobs%,$(MAKEFLAGS)),)
MAKEFLAGS += --jobs=2
endif
# cargo is no make: it would look for make's jobserver in vain.
unexport MAKEFLAGS MFLAGS

# Ignores everything in the user's environment that would change the result.
unexport $(filter RUSTC RUSTC_% RUSTFLAGS RUSTUP_TOOLCHAIN CARGO_BUILD_% CARGO_INCREMENTAL \
	CARGO_PROFILE_% CARGO_TARGET_% CARGO_UNSTABLE_% CARGO_ENCODED_RUSTFLAGS,$(.VARIABLES))

$(foreach platform,$(filter-out $(KNOWN),$(ARCHS)),$(error ARCHS: no platform "$(platform)"; there are $(KNOWN)))
$(if $(strip $(ARCHS)),,$(error ARCHS is empty; there are $(KNOWN)))
platforms := $(filter $(ARCHS),$(KNOWN))

# $(call arch,PLATFORMS): the architectures of their programs. One program serves arm/v6 and arm/v7.
arch = $(sort $(foreach platform,$(1),$(firstword $(subst /, ,$(platform)))))
PROGRAMS := $(call arch,$(KNOWN))
# The architectures that the crate sc supports.
PROGRAMS_SC := amd64 arm64 riscv64

# Each target with a description is a name, not a file.
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*/\1/p' Makefile)

##@ Build

all: image ## builds the programs and the image target/pause.tar (the default)

build: $(patsubst %,target/pause/%/pause,$(call arch,$(platforms))) ## builds the programs target/pause/ARCH/pause

build-sc: $(PROGRAMS_SC:%=target/pause-sc/%/pause) ## builds the programs with the crate sc, where that supports them

image: target/pause.tar ## packs the platforms in ARCHS into one image, named IMAGE

# --- The program -----------------------------------------------------------------------------------

# Per architecture: the triple, and what makes the code smaller (docs/size.md says by how much).
triple_386 := i586-unknown-linux-gnu
triple_amd64 := x86_64-unknown-linux-gnu
# The target without a kernel whose Thumb code every arm since v6 runs.
triple_arm := thumbv6m-none-eabi
triple_arm64 := aarch64-unknown-linux-gnu
triple_loong64 := loongarch64-unknown-linux-gnu
triple_ppc64le := powerpc64le-unknown-linux-gnu
triple_riscv64 := riscv64gc-unknown-linux-gnu
triple_s390x := s390x-unknown-linux-gnu

flags_386 := -C llvm-args=-disable-machine-licm -C llvm-args=-disable-machine-cse
flags_amd64 := $(flags_386) -C no-redzone=yes
flags_arm64 := -C code-model=tiny
flags_loong64 := -C llvm-args=-disable-machine-licm
# Merges all exits into one. One unit, also where `core` is built in many.
flags := -C llvm-args=-jump-threading-across-loop-headers -C codegen-units=1

# rustup's toolchain brings a linker for all architectures, and an objcopy, which needs the toolchain's
# libLLVM. A distribution has both in packages of their own.
rustlib = $$(rustc --print sysroot)/lib
tools_of_rustup = $(rustlib)/rustlib/$$(rustc --print host-tuple)/bin
of_rustup_or = $$(test -e "$(tools_of_rustup)/$(1)" && echo "$(tools_of_rustup)/$(1)" || echo $(2))
lld = $(call of_rustup_or,rust-lld,ld.lld)
objcopy = LD_LIBRARY_PATH="$(rustlib)" "$(call of_rustup_or,rust-objcopy,llvm-objcopy)"
has_llvm = test -e "$(tools_of_rustup)/rust-lld" || scripts/packages ld.lld llvm-objcopy

# Names the linker by rustflags: build.rs sees these, and gives it the layout.
link = CARGO_ENCODED_RUSTFLAGS="-Clinker=$(lld)"$$'\x1f-Clinker-flavor=ld.lld\x1f-Crelocation-model=pie'

options_pause-sc := --no-default-features --features sc --target-dir target/sc
directory_pause := target
directory_pause-sc := target/sc

# $(call program,BACKEND,ARCH): target/BACKEND/ARCH/pause, and pause.symbols, the same code with symbols and
# lines, for the listings.
define program
target/$(1)/$(2)/pause: src/main.rs $(wildcard src/arch/*.rs) build.rs linker.ld Cargo.toml Cargo.lock rust-toolchain.toml Makefile
	scripts/packages cc # which links build scripts
	$$(has_llvm)
	mkdir -p $$(@D)
	env $$(call core,$$(triple_$(2))) $$(link) cargo rustc --locked $$(quiet) --package pause --bin pause --release \
		--target $$(triple_$(2)) $$(options_$(1)) -- \
		-C strip=none -C debuginfo=line-tables-only $$(flags) $$(flags_$(2))
	cp $$(directory_$(1))/$$(triple_$(2))/release/pause $$@.symbols
	$$(objcopy) --strip-sections $$@.symbols $$@.new
	mv $$@.new $$@
	echo "$(1): $(2): $$$$(stat --format=%s $$@) bytes"
endef
$(foreach arch,$(PROGRAMS),$(eval $(call program,pause,$(arch))))
$(foreach arch,$(PROGRAMS_SC),$(eval $(call program,pause-sc,$(arch))))

# $(call target,TRIPLE): installs the target.
target = test -d "$(rustlib)/rustlib/$(1)/lib" || \
	{ command -v rustup >/dev/null || { echo "pause: rustc has no target $(1), and rustup is not installed" >&2; exit 1; }; \
	  flock Makefile rustup $(quiet) target add $(1); }

# Installs the sources of `core` and `std`.
rust_src = test -d "$(rustlib)/rustlib/src" || flock Makefile rustup $(quiet) component add rust-src

# $(call core,TRIPLE,CRATE): installs the target, or else prints the variables with which cargo builds `core`, which is
# all that the program needs of it, or CRATE from source. CONTRIBUTING.md says why. The linker takes one function of
# compiler_builtins before it drops that: as in rustup's build, it is alone in its object, or 386 gets an empty table.
core = $$( ($(call target,$(1))) >/dev/null 2>&1 || { \
	$(rust_src) || true; \
	echo "pause: $(1): builds $(or $(2),core) from source" >&2; \
	echo RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=$(or $(2),core) CARGO_PROFILE_RELEASE_CODEGEN_UNITS=10000; } )

# --- The image -------------------------------------------------------------------------------------

# The tools unwind, as tests do: a crate is compiled once for both. The program alone aborts.
unwind := CARGO_PROFILE_DEV_PANIC=unwind
pause_image := target/debug/pause-image
build_pause_image = scripts/packages cc; $(unwind) cargo build --locked $(quiet) --package pause-image

# The options that the archive was packed with: another IMAGE or other ARCHS pack it again.
packed := $(IMAGE) $(platforms)
ifneq ($(packed),$(shell cat target/pause.tar.args 2>/dev/null))
.PHONY: target/pause.tar
endif

# The day of its release, not the clock's: everybody packs the same bytes.
created = $(patsubst %,--created %T00:00:00Z,$(shell sed -n 's/^## \[$(VERSION)\] - //p' CHANGELOG.md))

target/pause.tar: $(patsubst %,target/pause/%/pause,$(call arch,$(platforms))) $(wildcard pause-image/src/*.rs) pause-image/Cargo.toml CHANGELOG.md
	$(build_pause_image)
	$(pause_image) pack --image '$(IMAGE)' $(created) --output $@ $(foreach platform,$(platforms),$(platform)=target/pause/$(call arch,$(platform))/pause)
	echo '$(packed)' > target/pause.tar.args

# --- use-pause -------------------------------------------------------------------------------------

# The architectures that rustup has a musl target for. The others are linked with glibc, by Debian's cross
# compilers; scripts/fetch.mk names both for each architecture.
musl_386 := i686-unknown-linux-musl
musl_amd64 := x86_64-unknown-linux-musl
musl_arm64 := aarch64-unknown-linux-musl
nodes := $(filter-out arm/v6 loong64,$(platforms))
use_pause = target/use-pause/$(call arch,$(1))/use-pause
USE_PAUSE_IMAGE = $(dir $(IMAGE))use-pause:$(VERSION)

# Linked statically, without a cross compiler.
static := -C linker=rust-lld -C linker-flavor=ld.lld -C link-self-contained=yes -C strip=symbols
# $(call linked,COMPILER): by a cross compiler, if one is given.
linked = $(if $(1),-C linker=$(1) -C target-feature=+crt-static -C strip=symbols,$(static))
# Keeps paths of this machine out of the files.
remap = CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$$PWD=/pause"$$'\x1f'"--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo"

node: $(foreach node,$(nodes),$(call use_pause,$(node))) target/use-pause.tar ## builds use-pause, which switches a node, and its image for a whole cluster

target/use-pause/%/use-pause: $(wildcard use-pause/src/*.rs pause-image/src/*.rs) use-pause/build.rs use-pause/Cargo.toml Cargo.lock target/pause.tar
	scripts/packages cc $(word 2,$(first_$*))
	$(call target,$(firstword $(first_$*)))
	mkdir -p $(@D)
	$(remap) cargo rustc --locked $(quiet) --package use-pause --bin use-pause \
		--profile node --target $(firstword $(first_$*)) -- $(call linked,$(word 2,$(first_$*)))
	cp target/$(firstword $(first_$*))/node/use-pause $@.new
	mv $@.new $@
	echo "use-pause: $*: $$(stat --format=%s $@) bytes"

target/use-pause.tar: $(foreach node,$(nodes),$(call use_pause,$(node)))
	$(pause_image) pack --image '$(USE_PAUSE_IMAGE)' $(created) --output $@ --title use-pause \
		--description 'Switches the sandbox image of a node to pause' $(foreach node,$(nodes),$(node)=$(call use_pause,$(node)))

##@ Use

demo: target/pause/$(HOST)/pause ## shows pause as PID 1; needs no engine and no root
	examples/demo $<

docker-load: build ## loads the image into docker, for docker's own platform
	$(build_pause_image)
	scripts/docker-load '$(IMAGE)' $(created)

kind: image ## creates a kind cluster whose pods all run on pause; needs kind, and docker or podman
	examples/kind/up '$(IMAGE)' target

push: target/pause.tar sbom ## copies the image and its SBOM to REGISTRY, as REGISTRY/pause:TAG
	test -n '$(REGISTRY)' || { echo 'pause: REGISTRY is not set: make push REGISTRY=registry.example/team' >&2; exit 1; }
	scripts/packages skopeo
	skopeo copy --all $(PUSH_FLAGS) oci-archive:target/pause.tar 'docker://$(REGISTRY)/$(notdir $(IMAGE))'
	skopeo copy --all $(PUSH_FLAGS) oci-archive:target/pause.referrers.tar \
		"docker://$(REGISTRY)/$(firstword $(subst :, ,$(notdir $(IMAGE)))):$$($(pause_image) digest target/pause.tar | tr : -)"

##@ Check

# The programs that are proved: all, with the crates syscalls and sc.
proved := $(PROGRAMS:%=target/pause/%/pause) $(PROGRAMS_SC:%=target/pause-sc/%/pause)

# The kernels that tests boot; scripts/fetch.mk has their rules.
KERNELS := amd64-5.10 amd64-6.1 amd64-6.12 arm64-5.10 arm64-6.1 arm64-6.12-16k
KERNELS_PLATFORMS := 386-6.1 arm-6.1 loong64-testing ppc64le-6.1 riscv64-testing s390x-6.1
# $(call bootable,KERNELS): those, and for each of their architectures an init and pause.
bootable = $(1:%=target/kernels/%) $(foreach arch,$(sort $(foreach kernel,$(1),$(firstword $(subst -, ,$(kernel))))),\
	target/init/$(arch)/init target/pause/$(arch)/pause)

cargo_test_program = cargo test --locked --test tests --test platforms
cargo_test_others = $(unwind) cargo test --locked --workspace --exclude pause --exclude bench --tests

test: tools all $(proved) $(call bootable,$(KERNELS)) test-programs ## runs all tests; as root on Debian it installs the packages that they need
	cargo fetch --locked $(quiet) # as some tests build where there is no network
	$(cargo_test_program)
	$(cargo_test_others) -- --test-threads=4 # as most of them wait

test-programs: target/pause.tar # compiles the tests, and what they run
	scripts/packages cc
	cargo build --locked $(quiet) --release # which the tests of the proof look at
	$(cargo_test_program) $(quiet) --no-run
	$(cargo_test_others) $(quiet) --no-run

clippy_pause = cargo clippy --locked $(quiet) --target $(1) -- -D warnings

lint: ## runs rustfmt, clippy and rustdoc
	scripts/packages cc
	cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo clippy --locked $(quiet) --workspace --all-targets -- -D warnings
	for triple in $(foreach arch,$(PROGRAMS),$(triple_$(arch))); do env $(call core,$$triple) $(call clippy_pause,$$triple); done
	for triple in $(foreach arch,$(PROGRAMS_SC),$(triple_$(arch))); do $(call clippy_pause,$$triple --no-default-features --features sc); done
	RUSTDOCFLAGS='-D warnings' cargo doc --locked $(quiet) --workspace --no-deps --document-private-items

# Verifies IMAGE only if it is given to make itself: its default is what make would build.
given = $(findstring command line,$(origin IMAGE))
verify: ## rebuilds and compares digests (IMAGE= adds an archive or an image in a registry)
	$(build_pause_image)
	$(if $(given),test -e '$(IMAGE)' || scripts/packages skopeo)
	scripts/verify $(if $(given),'$(IMAGE)' $(PULL_FLAGS))

# What these run; cargo builds it for make test.
build_use_pause = $(unwind) cargo build --locked $(quiet) --package use-pause
heavy = $(unwind) cargo test --locked --package engines --test engines -- --ignored --nocapture

test-platforms: tools $(call bootable,$(KERNELS_PLATFORMS)) target/qemu-10 ## boots kernels of the other platforms in QEMU: minutes
	scripts/packages qemu-system-{i386,arm,ppc64,riscv64,s390x}
	$(heavy) platforms::

test-scale: tools build ## reaps a million orphans: minutes
	cargo test --locked --test scale -- --nocapture

test-kubelet: tools image $(if $(KUBELET),target/containerd-2,target/kubelet/$(HOST)/kubelet) ## builds a kubelet, or takes KUBELET=, and runs pods with it: minutes
	$(build_use_pause)
	$(heavy) --test-threads=1 kubelet::

# The node image of test-kind: an archive, or an image that docker has or skopeo pulls. skopeo takes no name with
# both tag and digest.
node_image := $(if $(KIND_IMAGE),$(or $(wildcard $(KIND_IMAGE)),target/kind-image.tar))
.PHONY: target/kind-image.tar
target/kind-image.tar:
	scripts/packages skopeo
	rm -f $@
	docker image save --output $@ '$(KIND_IMAGE)' 2>/dev/null || \
		skopeo copy "docker://$$(sed 's/:[^:/]*@/@/' <<<'$(KIND_IMAGE)')" docker-archive:$@

test-kind: tools all node target/kind-0.33 $(or $(node_image),target/kind-node.tar target/kind-0.27 target/containerd-1.7 target/containerd-2 target/releases/trixie) ## builds Kubernetes, or takes a node image KIND_IMAGE=, and runs kind clusters: 20 minutes, 5 GB
	$(if $(node_image),KIND_NODE='$(abspath $(node_image))') $(heavy) --test-threads=1 kind::$(if $(node_image),any_image)

test-containerd-2: tools node target/containerd-1.7 target/containerd-2 ## runs a pod in containerd 2.x, use-pause on 1.7 and 2.x, and for each platform in an emulator: minutes
	$(build_use_pause)
	$(heavy) --test-threads=1 containerd_2:: use_pause:: runtimes::

RELEASES := trixie forky experimental
test-releases: tools image $(RELEASES:%=target/releases/%) target/tools/bin/youki target/tools/bin/containerd-shim-runc-v2-rs ## runs the engines of Debian 13, testing and experimental, youki and a shim in Rust: minutes, 3 GB
	$(heavy) releases::

test-packager: tools image target/releases/rust-amd64 target/releases/rust-arm64 target/releases/container ## compares the bytes that Debian testing's rustc builds, on amd64 and on emulated arm64, and a container: minutes, 3 GB
	$(rust_src)
	$(heavy) packager::

test-cosign: tools image target/cosign ## signs image and SBOM with Debian 13's cosign, and verifies them
	$(heavy) cosign

test-arm64-node: tools image target/node/arm64/arm64-node target/node/arm64/root.cpio target/kubelet/arm64/kubelet target/kernels/arm64-6.1 ## runs pods in podman, containerd and a kubelet on an emulated arm64 machine: minutes
	$(heavy) arm64_node::

prove: $(proved) ## proves for every input that each program keeps its contract: docs/proof.md
	scripts/packages cc z3
	$(unwind) cargo run --locked $(quiet) --package proof -- prove
	cargo build --locked $(quiet) --release
	$(unwind) cargo run --locked $(quiet) --package proof -- prove $(HOST) target/release/pause

mutants: tools $(proved) ## breaks pause on purpose, and shows which tests fail: half an hour
	$(unwind) cargo run --locked $(quiet) --package proof -- flips --run > target/flips.txt.new
	mv target/flips.txt.new target/flips.txt
	scripts/mutants > target/mutants.md
	mv target/mutants.md docs/mutants.md

deny := target/tools/bin/cargo-deny

deny: $(deny) ## checks licences, sources and versions of all crates, and advisories if their database can be reached
	scripts/deny $(deny)

##@ Measure

bench: build $(platforms:%=target/bench/peers/%) ## measures pause beside its peers: minutes, or one with QUICK=1
	scripts/packages cc containerd ctr runc ip nsenter
	$(build_pause_image) --package bench
	target/debug/bench $(if $(QUICK),--quick) $(if $(KEEP),--keep)

target/bench/peers/%: bench/peers/build bench/peers/pause.c scripts/apart
	bench/peers/build $@ $*

##@ Release

listings: $(proved) ## rewrites proof/listings and examples/seccomp.json
	scripts/packages cc z3
	$(unwind) cargo run --locked $(quiet) --package proof -- list --write
	$(unwind) cargo run --locked $(quiet) --package proof -- seccomp --write

digests: ## rebuilds and rewrites pause-image/digests
	$(build_pause_image)
	scripts/verify --write

sbom: target/pause.tar ## writes the SBOM target/pause.cdx.json
	$(build_pause_image)
	$(pause_image) sbom target/pause.tar

release: ## runs all tests, and writes the files of release VERSION= to target/release-VERSION
	scripts/release '$(VERSION)'

##@ Other

clean: ## removes target/
	rm -rf target

help: ## prints this list
	awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
	echo
	echo 'Variables'
	echo '  V=1  prints the commands'
	echo '  ARCHS="$(ARCHS)"  the platforms; docker load takes amd64, or the first'
	echo '  IMAGE=$(IMAGE)  the name of the image, with registry and tag'
	echo '  QUICK=1  takes few samples in make bench; KEEP=1  keeps the run in bench/run'
	echo '  KIND_IMAGE=  another node image for make kind, or the one that make test-kind runs; KIND_FLAGS=  further options of kind create cluster'
	echo '  KUBELET=  another kubelet for make test-kubelet'
	echo '  REGISTRY=  where make push copies to; PUSH_FLAGS=  and PULL_FLAGS= (make verify)  options of skopeo copy'

tools: # what the tests run
	scripts/packages

include scripts/fetch.mk
