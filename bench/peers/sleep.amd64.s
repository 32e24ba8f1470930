# A bare sleep for x86_64: the least that a process costs.

    .intel_syntax noprefix

    .section .text.start, "ax", @progbits
    .globl _start
_start:                         # nothing comes before the loop

    .section .text.entry, "ax", @progbits
    .globl entry
entry:                          # linker.ld needs this symbol
sleep:
    mov eax, 34                 # pause
    syscall
    jmp sleep                   # after an interruption, as by a debugger
