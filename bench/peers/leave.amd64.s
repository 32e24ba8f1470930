# A bare exit for x86_64: the least that starting and ending a process costs.

    .intel_syntax noprefix

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    xor edi, edi                # exit code

    .section .text.entry, "ax", @progbits
    .globl entry
entry:                          # linker.ld needs this symbol
    mov eax, 231                # exit_group
    syscall
