# A bare sleep that first unmaps its stack and thus its page tables, so that no signal handler could run.
# Measures what that would save.
.intel_syntax noprefix
.section .text.start, "ax"
.globl _start
_start:
  lea rdi, [rsp - 0x21000]   # the stack starts at most 132 KiB below
  and rdi, -0x1000
  mov esi, 0x42000           # and ends at most as far above
  mov eax, 11                # munmap
  syscall
.section .text.entry, "ax"
.globl entry
entry:
  mov eax, 34                # pause
  syscall
  jmp entry
