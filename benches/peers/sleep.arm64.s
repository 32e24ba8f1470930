// A process that sleeps, for aarch64, and does nothing else: what one costs at the least.

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    mov x1, xzr                     // no files,
    mov x2, xzr                     // no time,
    mov x3, xzr                     // no mask
    mov w8, #73                     // ppoll

    .section .text.run, "ax", @progbits
    .globl run
run:                                // linker.ld wants it here
    mov x0, xzr                     // the call's result was there
    svc #0
    b run                           // where it is interrupted, as by a debugger
