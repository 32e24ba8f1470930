// The whole of pause by hand, for aarch64: how small it can be where only size counts.
//
// It keeps the rules of the compiled one: nothing in a header but the header, one segment that is
// never written, no register taken for known that Linux leaves open, the arguments left as they are.
// A system call keeps all registers but x0.
//
// The file to write a message to is told by bits 2 and 3 of the message's address: so where it lies
// counts (pages are whole, and the stack is a multiple of 16). Messages that go to standard output
// have 1 there, the others 2. Whether it leaves after a message is told by bit 2 of its length: 12, 37
// and 38 have it, the warning's 43 has not.

    .section .text.start, "ax", @progbits
    .globl _start
_start:
    add x9, sp, #8                  // at the name, in front of the arguments
    mov w11, #0x762d                // "-v" and the string's end
arguments:
    ldr x8, [x9, #8]!
    cbz x8, started                 // null: that was all
    ldur w8, [x8, #-1]              // with the byte before, which is there: a compare drops low bytes only
    orr w8, w8, #0x200000           // makes V small
    cmp w11, w8, lsr #8
    b.ne arguments
    adr x1, version
    mov w2, #12                     // bytes
    b say
started:
    mov w8, #172                    // getpid
    svc #0
    sub w0, w0, #1
    cbz w0, first
    adr x1, warning
    mov w2, #43                     // bytes
say:                                // x1: message, w2: bytes
    ubfx w0, w1, #2, #2             // file
    mov w8, #64                     // write
    svc #0
    tbnz w2, #2, exit               // all but the warning are the last it says; w11 has exit code 0

first:
    mov x0, #0x4002                 // mask: SIGINT and SIGTERM; as flags of the second action: SA_NOCLDWAIT
    mov x4, #1                      // restorer, which nothing returns to; the second action's SIG_IGN
    stp x4, x0, [sp, #-16]!
    adr x4, entry
    stp x4, xzr, [sp, #-16]!        // the handler, and no flags; the second action lies 16 bytes further
    movk x11, #0x23d1, lsl #16      // now of six bits each, from bit 28 down: 2, 15, 17, the signals;
                                    // from bit 25 down: 1, 2, 3, 4, the exit codes
    mov x2, xzr                     // no old action
    mov x3, #8                      // bytes of a mask
    mov w8, #134                    // rt_sigaction
act:
    ubfx x0, x11, #28, #5
    and x1, x0, #16                 // the second action for SIGCHLD, 17, alone
    add x1, sp, x1
    svc #0
    cbnz w0, exit
    lsl x11, x11, #6
    tbnz w11, #15, act              // a bit that is set twice

    ldp x1, x2, [sp, #8]            // no status, and WNOHANG: 0 and 1, as they lie in the actions
    mov x3, xzr                     // no usage
    mov w8, #260                    // wait4
reap:
    mov x0, #-1                     // any child
    svc #0
    cmp w0, #0
    b.gt reap                       // that was a zombie
    mov w8, #73                     // ppoll: no files, no time, no mask
    mov x2, xzr
sleep:
    mov x0, xzr
    svc #0
    cmn w0, #4                      // EINTR
    b.eq sleep

exit:
    ubfx w0, w11, #25, #3
    mov w8, #94                     // exit_group
    svc #0

    .section .text.entry, "ax", @progbits
    .globl entry
entry:                              // x0: the signal
    adr x1, ends - 2
    ldr q2, [x1, x0]                // 2 and 15: so far apart are the lines' ends
    ldp q0, q1, [x1, #64]           // the last 32 bytes of the file, 24 of them the lines' beginning
    st1 {v0.16b, v1.16b, v2.16b}, [sp]  // over the signal's frame, as nothing returns there
    add x1, sp, #8
    lsr w11, w0, #3                 // 0 or 1, and where an exit code would be: 0
    add w2, w11, #37                // bytes
    b say
version:
    .ascii "pause 0.1.0\n"
ends:
    .ascii "l: Interrupt\n"
    .ascii "l: Terminated\n"
warning:
    .ascii "Warning: pause should be the first process\n"
    .ascii "Shutting down, got signa"
