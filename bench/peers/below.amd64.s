# A bare sleep that first returns its stack's pages to the kernel, except the one with its arguments, which
# /proc/PID/cmdline shows. Measures what that would save.
.intel_syntax noprefix
.section .text.start, "ax"
.globl _start
_start:
  mov rdi, rsp
  and rdi, -0x1000           # madvise wants whole pages
  mov rsi, [rsp + 8]         # the program's name, on the page to keep
  and rsi, -0x1000
  sub rsi, rdi
  mov edx, 4                 # MADV_DONTNEED
  mov eax, 28                # madvise
  syscall
.section .text.entry, "ax"
.globl entry
entry:
  mov eax, 34                # pause
  syscall
  jmp entry
