# What the tests need besides pause, fetched from Debian or built. Included by the Makefile.

# Debian's kernels: release, package, architecture and modules.
for_pods := llc stp bridge veth overlay
kernel_amd64-5.10 := bullseye linux-image-cloud-amd64 amd64
kernel_arm64-5.10 := bullseye linux-image-cloud-arm64 arm64
kernel_amd64-6.1 := bookworm linux-image-cloud-amd64 amd64
kernel_arm64-6.1 := bookworm linux-image-cloud-arm64 arm64 $(for_pods)
kernel_amd64-6.12 := trixie linux-image-cloud-amd64 amd64
kernel_arm64-6.12-16k := trixie linux-image-arm64-16k arm64
kernel_386-6.1 := bookworm linux-image-686-pae i386
kernel_arm-6.1 := bookworm linux-image-armmp-lpae armhf
kernel_ppc64le-6.1 := bookworm linux-image-powerpc64le ppc64el
kernel_s390x-6.1 := bookworm linux-image-s390x s390x
# Debian testing has the newest kernel.
kernel_loong64-testing := forky linux-image-loong64 loong64
kernel_riscv64-testing := forky linux-image-riscv64 riscv64
target/kernels/%: scripts/kernel
	scripts/kernel $@ $(kernel_$*)

# Static programs, as the init of the kernels that tests boot: the target, and the cross compiler that links
# them unless Rust has a musl target for the architecture. musl targets bring their own linker files.
first_386 := $(musl_386)
first_amd64 := $(musl_amd64)
first_arm := armv7-unknown-linux-gnueabihf arm-linux-gnueabihf-gcc
first_arm64 := $(musl_arm64)
# Debian 12 has no cross compiler for it: rust-lld links, with the libc of testing.
first_loong64 := loongarch64-unknown-linux-gnu
lib_loong64 := target/releases/libc-loong64/usr/lib
linked_loong64 = -C linker=rust-lld -C linker-flavor=ld.lld -C strip=symbols -C target-feature=+crt-static \
	-L native=$(lib_loong64)/loongarch64-linux-gnu \
	-L native=$(lib_loong64)/gcc/loongarch64-linux-gnu/16 \
	-C link-args="-pie --no-dynamic-linker $(patsubst %,$(lib_loong64)/loongarch64-linux-gnu/%.o,rcrt1 crti crtn)"
target/init/loong64/init: target/releases/libc-loong64
first_ppc64le := powerpc64le-unknown-linux-gnu powerpc64le-linux-gnu-gcc
first_riscv64 := riscv64gc-unknown-linux-gnu riscv64-linux-gnu-gcc
first_s390x := s390x-unknown-linux-gnu s390x-linux-gnu-gcc
# $(call first,DIRECTORY,PACKAGE,BIN,ARCH,TRIPLE,COMPILER)
define first
target/$(1)/$(4)/$(3): $(wildcard tests/*.rs tests/*/src/*.rs $(2)/src/*.rs $(2)/src/*/*.rs) Cargo.lock
	scripts/packages cc $(6)
	mkdir -p $$(@D)
	env $$(call core,$(5),std) cargo rustc --locked $$(quiet) --package $(2) --bin $(3) --profile init --target $(5) -- \
		$(or $(linked_$(4)),$(call linked,$(6)))
	cp target/$(5)/init/$(3) $$@
endef
$(foreach arch,$(PROGRAMS),$(eval $(call first,init,init,init,$(arch),$(word 1,$(first_$(arch))),$(word 2,$(first_$(arch))))))
$(eval $(call first,node,engines,arm64-node,arm64,$(first_arm64)))

# Commands from Debian: release and package.
commands_containerd-1.7 := trixie containerd
commands_containerd-2 := forky containerd
commands_cosign := trixie cosign
commands_kind-0.27 := trixie kind
commands_kind-0.33 := forky kind
commands_qemu-10 := bookworm-backports qemu-system-misc
$(addprefix target/,containerd-1.7 containerd-2 cosign kind-0.27 kind-0.33 qemu-10): target/%: scripts/commands
	scripts/commands $@ $(commands_$*)

# Commands from crates.io, built once in minutes: the crate, and what it needs.
crate_cargo-deny := cargo-deny@0.20.2
crate_youki := youki@0.7.0 --features v1,v2,seccomp
needs_youki := scmp_sys_resolver
crate_containerd-shim-runc-v2-rs := containerd-runc-shim@0.2.0
target/tools/bin/%:
	scripts/packages cc $(needs_$*)
	cargo install --locked --root target/tools --target-dir target/tools/$* $(crate_$*)
	rm -r target/tools/$*

# Root file systems of other Debian releases and architectures.
engines := podman crun runc criu conmon docker.io docker-cli docker-compose containerd \
	containernetworking-plugins uidmap mount iproute2 util-linux procps
target/releases/%: scripts/debian-root
	scripts/debian-root $* $@ $(engines) $(if $(filter trixie,$*),runsc aardvark-dns)

target/releases/libc-%: scripts/debian-root
	scripts/debian-root forky/$* $@ base-files libc6-dev libgcc-16-dev

packager := rustc rust-src cargo lld llvm gcc libc6-dev make base-files bash coreutils dash grep sed
target/releases/rust-%: scripts/debian-root
	scripts/debian-root forky/$* $@ $(packager)

# What the image rust has besides the toolchain.
target/releases/container: scripts/debian-root
	scripts/debian-root bookworm $@ make gcc libc6-dev bash coreutils dash grep sed gawk util-linux

target/node/arm64/root.cpio: scripts/debian-root
	scripts/debian-root bookworm/arm64 $(@D)/root podman runc conmon containerd \
		containernetworking-plugins busybox-static bash coreutils iproute2 mount util-linux
	touch $(@D)/root/etc/hosts # an installer writes it, and engines copy it into containers
	cd $(@D)/root && find . -mindepth 1 | cpio --create --format=newc --quiet >../root.cpio

# Kubernetes: Debian has its source only.
target/kubelet/%/kubelet: scripts/kubernetes
	GOARCH=$* scripts/kubernetes $(@D) kubelet

components := kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubeadm kubectl kubelet
target/kubernetes: scripts/kubernetes
	rm -rf $@ $@.new
	scripts/kubernetes $@.new $(components)
	mv $@.new $@

target/kind-node.tar: scripts/kind-node target/kubernetes
	scripts/kind-node $@ target/kubernetes
