# A sleep alone that first gives back the pages of its stack that the kernel filled at its start: what
# that would save. /proc/PID/cmdline is empty then.
.intel_syntax noprefix
.section .text.start, "ax"
.globl _start
_start:
  mov rdi, rsp
  and rdi, -0x1000           # madvise wants whole pages
  mov esi, 0x10000           # more than there are: the kernel goes on to the stack's end
  mov edx, 4                 # MADV_DONTNEED
  mov eax, 28                # madvise
  syscall
.section .text.run, "ax"
.globl run
run:
  mov eax, 34                # pause
  syscall
  jmp run
