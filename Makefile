# pause: `make help` lists the targets. tests/tools/fetch.mk has what tests fetch or build for themselves.

# The platforms by their OCI names, in the image's order.
KNOWN := 386 amd64 arm/v6 arm/v7 arm64 ppc64le riscv64 s390x
ARCHS ?= $(KNOWN)
VERSION := $(shell sed -n '/^\[workspace.package\]/,/^\[package\]/s/^version = "\(.*\)"/\1/p' Cargo.toml)
IMAGE ?= localhost/pause:$(VERSION)

# This machine's platform.
HOST := $(shell uname -m | sed 's/x86_64/amd64/; s/aarch64/arm64/')

.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: all build build-sc image test test-platforms test-scale test-kubelet test-kind test-containerd-2 test-engines test-packager test-cosign test-arm64-node prove audit mutants bench lint demo docker-load push kind node attestations verify digests deny release tools clean help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

# Ignores everything in the user's environment that would change the result.
unexport $(filter RUSTC RUSTC_% RUSTFLAGS RUSTUP_TOOLCHAIN CARGO_BUILD_% CARGO_INCREMENTAL \
	CARGO_PROFILE_% CARGO_TARGET_% CARGO_UNSTABLE_%,$(.VARIABLES))
# Cargo's folder as well.
export CARGO_TARGET_DIR := target/cargo
export CARGO_ENCODED_RUSTFLAGS :=

$(foreach platform,$(filter-out $(KNOWN),$(ARCHS)),$(error ARCHS: no platform "$(platform)"; there are $(KNOWN)))
$(if $(strip $(ARCHS)),,$(error ARCHS is empty; there are $(KNOWN)))
platforms := $(filter $(ARCHS),$(KNOWN))

# $(call arch,PLATFORMS): the architectures of their programs. One program serves arm/v6 and arm/v7.
arch = $(sort $(foreach platform,$(1),$(firstword $(subst /, ,$(platform)))))
PROGRAMS := $(call arch,$(KNOWN))
# The architectures that the crate sc supports.
PROGRAMS_SC := amd64 arm64 riscv64

##@ Build

all: image ## builds the programs and the image target/pause.tar (the default)

build: $(patsubst %,target/pause/%/pause,$(call arch,$(platforms))) ## builds the programs target/pause/ARCH/pause

build-sc: $(PROGRAMS_SC:%=target/pause-sc/%/pause) ## builds the programs with the crate sc, where that supports them

image: target/pause.tar ## packs the platforms in ARCHS into one image, named IMAGE

# --- The program -----------------------------------------------------------------------------------

triple_386 := i586-unknown-linux-gnu
triple_amd64 := x86_64-unknown-linux-gnu
# The target without a kernel whose Thumb code every arm since v6 runs.
triple_arm := thumbv6m-none-eabi
triple_arm64 := aarch64-unknown-linux-gnu
triple_ppc64le := powerpc64le-unknown-linux-gnu
triple_riscv64 := riscv64gc-unknown-linux-gnu
triple_s390x := s390x-unknown-linux-gnu

# Per architecture: the largest page that a kernel may have, which aligns the segment, and
# what makes the code smaller (docs/size.md says by how much).
flags_x86 := -C link-arg=-zmax-page-size=0x1000 \
	-C llvm-args=-disable-machine-licm -C llvm-args=-disable-machine-cse
flags_386 := $(flags_x86)
flags_amd64 := $(flags_x86) -C no-redzone=yes
flags_arm := -C link-arg=-zmax-page-size=0x10000
flags_arm64 := -C link-arg=-zmax-page-size=0x10000 -C code-model=tiny
flags_ppc64le := -C link-arg=-zmax-page-size=0x10000
flags_riscv64 := -C link-arg=-zmax-page-size=0x10000
flags_s390x := -C link-arg=-zmax-page-size=0x1000

# Lets the program leave in one place only.
flags := -C llvm-args=-jump-threading-across-loop-headers

# rustup's toolchain brings a linker for all architectures, and an objcopy, which needs the toolchain's
# libLLVM. A distribution has both in packages of their own.
rustlib = $$(rustc --print sysroot)/lib
tools_of_rustup = $(rustlib)/rustlib/$$(rustc --print host-tuple)/bin
of_rustup_or = $$(test -e "$(tools_of_rustup)/$(1)" && echo "$(tools_of_rustup)/$(1)" || echo $(2))
lld = $(call of_rustup_or,rust-lld,ld.lld)
objcopy = LD_LIBRARY_PATH="$(rustlib)" "$(call of_rustup_or,rust-objcopy,llvm-objcopy)"
has_llvm = test -e "$(tools_of_rustup)/rust-lld" || tests/tools/packages ld.lld llvm-objcopy

link = -C linker="$(lld)" -C linker-flavor=ld.lld -C relocation-model=pie -C link-arg=-pie \
	-C link-arg=--no-dynamic-linker -C link-arg=-Tlinker.ld -C strip=symbols

# Keeps paths of this machine out of the files.
remap = CARGO_ENCODED_RUSTFLAGS="--remap-path-prefix=$$PWD=/pause"$$'\x1f'"--remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo"

features_pause :=
features_pause-sc := --no-default-features --features sc

# $(call binary,BACKEND,ARCH)
define binary
target/$(1)/$(2)/pause: src/main.rs $(wildcard src/arch/*.rs) linker.ld Cargo.toml Cargo.lock rust-toolchain.toml Makefile
	@tests/tools/packages cc # which links the build script of the crate syscalls
	@$$(has_llvm)
	@$$(call target,$$(triple_$(2)))
	@mkdir -p $$(@D)
	$$(remap) cargo rustc --locked --package pause --bin pause --profile pause --target $$(triple_$(2)) \
		--target-dir target/cargo/$(1) $$(features_$(1)) -- $$(link) $$(flags) $$(flags_$(2))
	@$$(objcopy) --strip-sections target/cargo/$(1)/$$(triple_$(2))/pause/pause $$@.new
	@mv $$@.new $$@
endef
$(foreach arch,$(PROGRAMS),$(eval $(call binary,pause,$(arch))))
$(foreach arch,$(PROGRAMS_SC),$(eval $(call binary,pause-sc,$(arch))))

# $(call target,TRIPLE): installs the target.
target = test -d "$(rustlib)/rustlib/$(1)/lib" || \
	{ command -v rustup >/dev/null || { echo "pause: rustc has no target $(1), and there is no rustup to add it" >&2; exit 1; }; \
	  rustup target add $(1); }

# $(call unstripped,ARCH): the same code with symbols and lines, for the listings.
define unstripped
target/pause-unstripped/$(1)/pause: target/pause/$(1)/pause
	@mkdir -p $$(@D)
	cargo rustc --locked --package pause --bin pause --profile pause --target $$(triple_$(1)) \
		--target-dir target/cargo/pause-unstripped -- $$(link) \
		-C strip=none -C debuginfo=line-tables-only $$(flags) $$(flags_$(1))
	@cp target/cargo/pause-unstripped/$$(triple_$(1))/pause/pause $$@
endef
$(foreach arch,$(PROGRAMS),$(eval $(call unstripped,$(arch))))

# For a test alone: how kernels with larger pages load a file linked for 4 KiB.
target/pause-4k/arm64/pause: target/pause/arm64/pause
	@mkdir -p $(@D)
	cargo rustc --locked --package pause --bin pause --profile pause --target $(triple_arm64) \
		--target-dir target/cargo/pause-4k -- $(link) $(flags) \
		$(subst max-page-size=0x10000,max-page-size=0x1000,$(flags_arm64))
	@$(objcopy) --strip-sections target/cargo/pause-4k/$(triple_arm64)/pause/pause $@

# --- The image -------------------------------------------------------------------------------------

pause_image := target/cargo/debug/pause-image
build_pause_image = @tests/tools/packages cc; cargo build --locked --quiet --package pause-image

# The options that the archive was packed with: another IMAGE or other ARCHS pack it again.
packed := $(IMAGE) $(platforms)
ifneq ($(packed),$(shell cat target/pause.tar.args 2>/dev/null))
.PHONY: target/pause.tar
endif

# The day of its release, not the clock's: everybody packs the same bytes.
created = $(patsubst %,--created %T00:00:00Z,$(shell sed -n 's/^## \[$(VERSION)\] - //p' CHANGELOG.md))

target/pause.tar: $(patsubst %,target/pause/%/pause,$(call arch,$(platforms))) $(wildcard image/src/*.rs) image/Cargo.toml CHANGELOG.md
	@tests/tools/packages cc
	@cargo run --locked --package pause-image -- pack --image '$(IMAGE)' $(created) --output $@ $(foreach platform,$(platforms),$(platform)=target/pause/$(call arch,$(platform))/pause)
	@echo '$(packed)' > target/pause.tar.args

# --- use-pause -------------------------------------------------------------------------------------

# The architectures that rustup has a musl target for.
musl_386 := i686-unknown-linux-musl
musl_amd64 := x86_64-unknown-linux-musl
musl_arm64 := aarch64-unknown-linux-musl
nodes := $(filter 386 amd64 arm64,$(platforms))
USE_PAUSE_IMAGE = $(dir $(IMAGE))use-pause:$(VERSION)

# Linked statically, without a cross compiler.
static := -C linker=rust-lld -C linker-flavor=ld.lld -C link-self-contained=yes -C strip=symbols

node: $(nodes:%=target/use-pause/%/use-pause) target/use-pause.tar ## builds use-pause, which switches a node, and its image for a whole cluster

target/use-pause/%/use-pause: $(wildcard node/src/*.rs image/src/*.rs) node/build.rs node/Cargo.toml Cargo.lock target/pause.tar
	@tests/tools/packages cc
	@$(call target,$(musl_$*))
	@mkdir -p $(@D)
	export PAUSE_ARCHIVE="$$PWD/target/pause.tar"; $(remap) cargo rustc --locked --package use-pause --bin use-pause \
		--profile node --target $(musl_$*) --target-dir target/cargo/use-pause -- $(static)
	@cp target/cargo/use-pause/$(musl_$*)/node/use-pause $@.new
	@mv $@.new $@

target/use-pause.tar: $(nodes:%=target/use-pause/%/use-pause)
	@cargo run --locked --quiet --package pause-image -- pack --image '$(USE_PAUSE_IMAGE)' $(created) --output $@ --title use-pause \
		--description 'Has a node take the image of pause for the sandbox of each pod' $(foreach node,$(nodes),$(node)=target/use-pause/$(node)/use-pause)

##@ Use

demo: target/pause/$(HOST)/pause ## shows pause as PID 1; needs no engine and no root
	@examples/demo $<

docker-load: build ## loads the image into docker, for docker's own platform
	$(build_pause_image)
	@image/docker-load '$(IMAGE)' $(created)

kind: image ## creates a kind cluster whose pods all run on pause; needs kind and docker
	@examples/kind/up '$(IMAGE)' target

attest = $(build_pause_image); $(pause_image) attest target/pause.tar \
	$(if $(SOURCE),--source '$(SOURCE)') $(if $(BUILDER),--builder '$(BUILDER)')

push: target/pause.tar ## copies the image, SBOM and provenance to REGISTRY, as REGISTRY/pause:TAG
	@test -n '$(REGISTRY)' || { echo 'pause: push where? make push REGISTRY=registry.example/team' >&2; exit 1; }
	@tests/tools/packages skopeo
	$(attest)
	skopeo copy --all $(PUSH_FLAGS) oci-archive:target/pause.tar 'docker://$(REGISTRY)/$(notdir $(IMAGE))'
	skopeo copy --all $(PUSH_FLAGS) oci-archive:target/pause.referrers.tar \
		"docker://$(REGISTRY)/$(firstword $(subst :, ,$(notdir $(IMAGE)))):sha256-$$($(pause_image) digests target/pause.tar | sed -n 's/  index$$//p')"

##@ Check

# The programs that are proved: all, with the crates syscalls and sc.
proved := $(PROGRAMS:%=target/pause/%/pause) $(PROGRAMS_SC:%=target/pause-sc/%/pause)

# What the tests need: these, and the same code with symbols.
tested := $(proved) $(PROGRAMS:%=target/pause-unstripped/%/pause)

# The kernels that tests boot; tests/tools/fetch.mk has their rules.
KERNELS := amd64-5.10 amd64-6.1 amd64-6.12 arm64-5.10 arm64-6.1 arm64-6.12-16k
KERNELS_PLATFORMS := 386-6.1 arm-6.1 ppc64le-6.1 riscv64-testing s390x-6.1
# $(call bootable,KERNELS): those, and for each of their architectures an init and pause.
bootable = $(1:%=target/kernels/%) $(foreach arch,$(sort $(foreach kernel,$(1),$(firstword $(subst -, ,$(kernel))))),\
	target/init/$(arch)/init target/pause/$(arch)/pause)
booted := target/pause-4k/arm64/pause $(call bootable,$(KERNELS))

test: tools lint all node $(tested) $(booted) ## runs all tests; as root on Debian it installs the packages that they need
	cargo fetch --locked --quiet # as some tests build where there is no network
	$(build_pause_image)
	cargo test --locked --package pause-image --package use-pause --package tests
	cargo test --locked --package proof -- --nocapture

clippy_pause = cargo clippy --locked --package pause --target $(1) -- -D warnings -D clippy::undocumented_unsafe_blocks

lint: ## runs rustfmt, clippy and rustdoc
	@tests/tools/packages cc protoc
	@cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 || rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --exclude pause --all-targets -- -D warnings
	@for triple in $(foreach arch,$(PROGRAMS),$(triple_$(arch))); do \
		$(call target,$$triple); (set -x; $(call clippy_pause,$$triple)); \
	done
	@for triple in $(foreach arch,$(PROGRAMS_SC),$(triple_$(arch))); do \
		(set -x; $(call clippy_pause,$$triple $(features_pause-sc))); \
	done
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --document-private-items

# Verifies IMAGE only if it is given to make itself: its default is what make would build.
given = $(findstring command line,$(origin IMAGE))
verify: ## builds afresh, and compares that, and an archive or image in a registry IMAGE=, with image/digests
	$(build_pause_image)
	@$(if $(given),test -e '$(IMAGE)' || tests/tools/packages skopeo)
	@image/verify $(if $(given),'$(IMAGE)' $(PULL_FLAGS))

test-platforms: tools $(call bootable,$(KERNELS_PLATFORMS)) ## boots kernels of the other platforms in QEMU: minutes
	@tests/tools/packages qemu-system-{i386,arm,ppc64,riscv64,s390x}
	cargo test --locked --package tests --test kernels platforms:: -- --ignored

test-scale: tools build ## reaps a million orphans, starts a thousand sandboxes: minutes
	cargo test --locked --package tests --test scale -- --ignored --nocapture --test-threads=1

test-kubelet: tools node target/kubelet/$(HOST)/kubelet ## builds a kubelet and runs pods with it: minutes
	cargo test --locked --package tests --test kubelet -- --ignored --nocapture --test-threads=1

test-kind: tools all node target/kind-node.tar target/kind-0.27 target/kind-0.33 target/containerd-1.7 target/containerd-2 ## builds Kubernetes and runs kind clusters with it: 20 minutes, 5 GB
	cargo test --locked --package tests --test kind -- --ignored --nocapture --test-threads=1

test-containerd-2: tools node target/containerd-1.7 target/containerd-2 ## runs a pod in containerd 2.x, and use-pause on 1.7 and 2.x, from newer Debian releases
	cargo test --locked --package tests --test pod in_containerd_2 -- --ignored --nocapture
	cargo test --locked --package tests --test use_pause -- --ignored --nocapture --test-threads=1

RELEASES := trixie forky
test-engines: tools image $(RELEASES:%=target/releases/%) ## runs the engines of Debian 13 and of testing: minutes, 2 GB
	@rm -rf target/engines
	cargo test --locked --package tests --test engines -- --ignored --nocapture
	@cat target/engines/*

test-packager: tools build target/releases/rust-amd64 target/releases/rust-arm64 ## compares the bytes that Debian testing's rustc builds, on amd64 and on emulated arm64: minutes, 3 GB
	cargo test --locked --package tests --test packager -- --ignored --nocapture

test-cosign: tools image target/cosign ## signs image, SBOM and provenance with Debian 13's cosign, and verifies them
	cargo test --locked --package tests --test verify cosign -- --ignored --nocapture

test-arm64-node: tools image target/node/arm64/node target/node/arm64/root.cpio target/kubelet/arm64/kubelet target/kernels/arm64-6.1 ## runs pods in podman, containerd and a kubelet on an emulated arm64 machine: minutes
	cargo test --locked --package tests --test kernels an_arm64_node -- --ignored --nocapture

prove: $(tested) ## proves for every input that each program keeps its contract: docs/proof.md
	@tests/tools/packages cc z3
	cargo test --locked --quiet --package proof --test contract -- --nocapture every_program

mutants: tools $(proved) ## breaks pause on purpose, and lists the tests that notice: half an hour
	EVERY=1 cargo test --locked --quiet --package proof --test flips -- --nocapture > target/flips.txt.new
	@mv target/flips.txt.new target/flips.txt
	tests/tools/mutants > target/mutants.md
	@mv target/mutants.md tests/tools/mutants.md

deny := target/tools/bin/cargo-deny

deny: $(deny) ## checks licences, sources and versions of all crates, and advisories if their database can be reached
	@tests/tools/deny $(deny)

$(deny): # minutes, once
	@tests/tools/packages cc
	cargo install --locked --version 0.20.2 --root target/tools --target-dir target/tools/target cargo-deny
	@rm -r target/tools/target

##@ Measure

bench: tools image target/bench/peers ## measures pause and its peers: five minutes, or one with QUICK=1
	cargo build --locked --release --package bench --package pause-image
	target/cargo/release/bench $(if $(QUICK),--quick) $(if $(SIZES),--sizes) $(if $(KEEP),--keep)

target/bench/peers: $(wildcard benches/peers/*) linker.ld
	@benches/peers/build $@ $(KNOWN)

##@ Release

audit: tools $(tested) ## rewrites tests/proof/listings and image/seccomp.json
	AUDIT=1 cargo test --locked --quiet --package proof --test contract -- every_program

digests: ## builds afresh and rewrites image/digests
	$(build_pause_image)
	@image/verify --write

attestations: target/pause.tar ## writes SBOM and provenance, target/pause.cdx.json and pause.provenance.json
	$(attest)

release: ## runs all tests, and writes the files of release VERSION= to target/release-VERSION
	@image/release '$(VERSION)'

##@ Other

clean: ## removes target/
	rm -rf target

help: ## prints this list
	@awk -F ':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z0-9-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'Variables'
	@echo '  ARCHS="$(ARCHS)"  the platforms; docker load takes amd64, or the first'
	@echo '  IMAGE=$(IMAGE)  the name of the image, with registry and tag'
	@echo '  QUICK=1  takes few samples in make bench; SIZES=1  measures sizes alone; KEEP=1  keeps the run in benches/run'
	@echo '  SOURCE=  BUILDER=  URIs of repository and builder, for the provenance'
	@echo '  KIND_IMAGE=  another node image for make kind; KIND_FLAGS=  further options of kind create cluster'
	@echo '  REGISTRY=  where make push copies to; PUSH_FLAGS=  and PULL_FLAGS= (make verify)  options of skopeo copy'

tools: # what the tests run
	@tests/tools/packages

include tests/tools/fetch.mk
