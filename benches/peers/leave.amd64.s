# A process that leaves at once, for x86_64: what starting and ending one costs at the least.

    .intel_syntax noprefix

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    xor edi, edi                # exit code

    .section .text.run, "ax", @progbits
    .globl run
run:                            # linker.ld wants it here
    mov eax, 231                # exit_group
    syscall
