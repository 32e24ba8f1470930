# A bare sleep that copies its code next to the stack, where both share a page table, and unmaps its old place
# and the vDSO. Measures what that would save.
.intel_syntax noprefix
.section .text.start, "ax"
.globl _start
_start:
  mov rdi, rsp
  and rdi, -0x200000         # the start of the 2 MiB of one page table
try:
  mov esi, 0x1000
  mov edx, 3                 # PROT_READ, PROT_WRITE
  mov r10d, 0x100022         # MAP_PRIVATE, MAP_ANONYMOUS, MAP_FIXED_NOREPLACE
  or r8, -1
  xor r9d, r9d
  mov eax, 9                 # mmap
  syscall
  mov r12, rax
  add rdi, 0x1ff000          # or their end, if the stack is at the start
  test rax, rax
  js try
  mov rdi, rax
  lea rsi, [rip + copied]
  mov ecx, 64                # more than its length
  rep movsb
  mov rdi, r12
  mov esi, 0x1000
  mov edx, 5                 # PROT_READ, PROT_EXEC
  mov eax, 10                # mprotect
  syscall
  lea rdi, [rip + _start]
  and rdi, -0x1000
  jmp r12
copied:
  sub rdi, 0x20000           # with the vDSO, which would keep the page tables
  mov esi, 0x21000
  mov eax, 11                # munmap
  syscall
again:
  mov eax, 34                # pause
  syscall
  jmp again
copied_end:
.section .text.entry, "ax"
.globl entry
entry:
