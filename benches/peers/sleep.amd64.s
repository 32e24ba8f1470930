# A process that sleeps, for x86_64, and does nothing else: what one costs at the least.

    .intel_syntax noprefix

    .section .text.start, "ax", @progbits
    .globl _start
_start:                         # nothing comes before the loop

    .section .text.run, "ax", @progbits
    .globl run
run:                            # linker.ld wants it here
sleep:
    mov eax, 34                 # pause
    syscall
    jmp sleep                   # where it is interrupted, as by a debugger
