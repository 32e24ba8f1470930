# What the tests need besides pause, fetched from Debian or built. Included by the Makefile.

# Debian's kernels: release, package, architecture and modules.
for_criu := nfnetlink libcrc32c nf_tables
for_pods := llc stp bridge veth overlay
kernel_amd64-5.10 := bullseye linux-image-cloud-amd64 amd64
kernel_arm64-5.10 := bullseye linux-image-cloud-arm64 arm64
kernel_amd64-6.1 := bookworm linux-image-cloud-amd64 amd64 $(for_criu) $(for_pods)
kernel_arm64-6.1 := bookworm linux-image-cloud-arm64 arm64 $(for_criu) $(for_pods)
kernel_amd64-6.12 := trixie linux-image-cloud-amd64 amd64
kernel_arm64-6.12-16k := trixie linux-image-arm64-16k arm64
kernel_386-6.1 := bookworm linux-image-686-pae i386
kernel_arm-6.1 := bookworm linux-image-armmp-lpae armhf
kernel_ppc64le-6.1 := bookworm linux-image-powerpc64le ppc64el
kernel_s390x-6.1 := bookworm linux-image-s390x s390x
# Debian testing has the newest kernel.
kernel_riscv64-testing := forky linux-image-riscv64 riscv64
target/kernels/%: tests/tools/kernel
	@tests/tools/kernel $@ $(kernel_$*)

# The init of the kernels that tests boot, a static program: its target, and the cross compiler that links
# it unless Rust has a musl target for the architecture. musl targets bring their own linker files.
first_386 := $(musl_386)
first_amd64 := $(musl_amd64)
first_arm := armv7-unknown-linux-gnueabihf arm-linux-gnueabihf-gcc
first_arm64 := $(musl_arm64)
first_ppc64le := powerpc64le-unknown-linux-gnu powerpc64le-linux-gnu-gcc
first_riscv64 := riscv64gc-unknown-linux-gnu riscv64-linux-gnu-gcc
first_s390x := s390x-unknown-linux-gnu s390x-linux-gnu-gcc
# $(call first,BIN,FEATURES,ARCH,TRIPLE,COMPILER)
define first
target/$(1)/$(3)/$(1): $(wildcard tests/*.rs tests/support/*.rs tests/support/engine/*.rs) tests/Cargo.toml Cargo.lock
	@tests/tools/packages cc $(5)
	@$$(call target,$(4))
	@mkdir -p $$(@D)
	cargo rustc --locked --package tests --bin $(1) $(2) --profile init --target $(4) -- \
		$(if $(5),-C linker=$(5) -C target-feature=+crt-static -C strip=symbols,$(static))
	@cp target/cargo/$(4)/init/$(1) $$@
endef
$(foreach arch,$(PROGRAMS),$(eval $(call first,init,--no-default-features,$(arch),$(word 1,$(first_$(arch))),$(word 2,$(first_$(arch))))))
$(eval $(call first,node,,arm64,$(first_arm64)))

# Commands from Debian: release and package.
commands_containerd-1.7 := trixie containerd
commands_containerd-2 := forky containerd
commands_cosign := trixie cosign
commands_kind-0.27 := trixie kind
commands_kind-0.33 := forky kind
$(addprefix target/,containerd-1.7 containerd-2 cosign kind-0.27 kind-0.33): target/%: tests/tools/commands
	@tests/tools/commands $@ $(commands_$*)

# Root file systems of other Debian releases and architectures.
engines := podman crun runc conmon docker.io docker-cli docker-compose containerd \
	containernetworking-plugins uidmap mount iproute2 util-linux procps
target/releases/%: tests/tools/release
	@tests/tools/release $* $@ $(engines) $(if $(filter trixie,$*),runsc)

packager := rustc cargo lld llvm gcc libc6-dev make base-files bash coreutils dash grep sed
target/releases/rust-%: tests/tools/release
	@ARCH=$* tests/tools/release forky $@ $(packager)

target/node/arm64/root.cpio: tests/tools/release
	@ARCH=arm64 tests/tools/release bookworm $(@D)/root podman runc conmon containerd \
		containernetworking-plugins busybox-static bash coreutils iproute2 mount util-linux
	@touch $(@D)/root/etc/hosts # an installer writes it, and engines copy it into containers
	@cd $(@D)/root && find . -mindepth 1 | cpio --create --format=newc --quiet >../root.cpio

# Kubernetes: Debian has its source only.
target/kubelet/%/kubelet: tests/tools/kubernetes
	@GOARCH=$* tests/tools/kubernetes $(@D) kubelet

components := kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubeadm kubectl kubelet
target/kubernetes: tests/tools/kubernetes
	@rm -rf $@ $@.new
	@tests/tools/kubernetes $@.new $(components)
	@mv $@.new $@

target/kind-node.tar: tests/tools/kind-node target/kubernetes
	@tests/tools/kind-node $@ target/kubernetes
