# A bare sleep that first returns all pages of its stack to the kernel, so that /proc/PID/cmdline is empty.
# Measures what that would save.
.intel_syntax noprefix
.section .text.start, "ax"
.globl _start
_start:
  mov rdi, rsp
  and rdi, -0x1000           # madvise wants whole pages
  mov esi, 0x10000           # more than the stack has: the kernel stops at its end
  mov edx, 4                 # MADV_DONTNEED
  mov eax, 28                # madvise
  syscall
.section .text.entry, "ax"
.globl entry
entry:
  mov eax, 34                # pause
  syscall
  jmp entry
