# The whole of pause by hand, for x86_64: how small it can be where only size counts.
#
# It keeps the rules of the compiled one: nothing in a header but the header, one segment that is
# never written, no register taken for known that Linux leaves open, the arguments left as they are.
# A system call keeps all registers but rax, rcx and r11, and the flags, which the processor saves.
# Push and pop are the shortest move there is, of a small number as of a register.
#
# Linux enters at _start, below, which calls begin; it delivers signals at entry, behind that.

    .intel_syntax noprefix

    # Where two messages lie in the file: behind the headers, .text.start, the call at entry, and three
    # pieces of lines.
    .equ HEADERS, 176
    .equ START, 172
    .equ VERSION, HEADERS + START + 5 + 26 + 12 + 13
    .equ WARNING, VERSION + 12

    .section .text.start, "ax", @progbits
begin:                          # on the stack: the address of entry, argc, the name, the arguments
    push rsp
    pop rbp                     # for leave, which puts the stack back
    pop rsi                     # the address of entry,
    mov sil, VERSION & 255      # and the version's: they differ in the lowest byte, as pages are whole
    pop rcx                     # argc, which nobody needs: null ends the arguments
    pop rcx                     # the name, which is no argument
arguments:
    pop rcx                     # nothing writes below the stack pointer: no handler is there yet
    jrcxz started               # null: that was all
    mov eax, [rcx]              # one byte too many, but behind the last string is the file's name
    xor ax, 0x562d              # "-V" becomes 0, "-v" the bit that makes a letter small
    and eax, 0xffdfff           # neither that bit nor the fourth byte counts; the third ends the string
    jnz arguments
    leave                       # or the next two would overwrite arguments
    xchg ebx, eax               # exit code 0
    push 12                     # bytes
    push 1                      # standard output
    jmp say                     # the flags say zero: it leaves then

started:
    leave                       # rbp: the address of entry; the stack: at argc
    push 39                     # getpid
    pop rax
    syscall
    dec eax
    jz first
    mov sil, WARNING & 255      # the flags say not zero: it goes on after the message
    push 43                     # bytes
say_to_stderr:
    push 2
say:                            # rsi: message; on the stack: file, bytes
    pop rdi
    pop rdx
    push 1                      # write
    pop rax
    syscall
    jz exit

first:
    push 0x4002                 # mask: SIGINT and SIGTERM; the second action's flags: SA_NOCLDWAIT
    push 1                      # restorer, which nothing returns to; the second action's SIG_IGN
    pop rbx                     # exit code, if the first action is refused
    push rbx
    push 0x04000000             # SA_RESTORER, or the kernel kills instead of delivering
    push rbp                    # the handler
    push rsp
    pop rsi                     # the first action; the second lies 16 bytes further, in the same words
    push 8                      # bytes of a mask
    pop r10
    push 17                     # SIGCHLD
    push 15                     # SIGTERM
    push 2                      # SIGINT
act:
    pop rdi
    push 13                     # rt_sigaction
    pop rax
    cdq                         # no old action: 13 has no sign
    syscall
    or eax, edi                 # 0 becomes the signal, an error stays negative
    js exit
    inc ebx                     # the next step's exit code, 4 in the end
    add al, 0xf1                # less 15: no carry for SIGINT, zero for SIGTERM
    jnc act
    lea rsi, [rsi + 16]         # keeps the flags
    je act

    sbb edi, edi                # any child: the carry of SIGCHLD makes it -1
    xor esi, esi                # no status
    xor r10d, r10d              # no usage
    inc edx                     # WNOHANG
reap:
    push 61                     # wait4
    pop rax
    syscall
    test eax, eax
    jg reap                     # that was a zombie
sleep:
    push 34                     # pause
    pop rax
    syscall
    cmp al, 0xfc                # EINTR: all errors differ in their lowest byte
    je sleep

exit:
    mov edi, ebx
    xchg edx, eax               # less than 256 wherever it comes from: bytes written, 0, or WNOHANG
    mov al, 231                 # exit_group
    syscall

shut_down:                      # edi: the signal; on the stack: where the lines begin
    pop rsi
    xchg edi, eax               # eax: the signal
    push rsp
    pop rdi                     # the line goes over the signal's frame: nothing returns there
    push 26                     # the direction flag is clear: so the ABI and the kernel have it
    pop rcx
    rep movsb                   # what both lines begin with
    and al, 12                  # 2 becomes 0, 15 becomes 12: so far apart are the lines' ends
    add rsi, rax
    lodsb                       # the line's length
    movsq
    movsd                       # 12 bytes, one too many for SIGINT
    push rsp
    pop rsi
    xor ebx, ebx                # exit code 0, and flags that say zero
    push rax                    # bytes
    jmp say_to_stderr

    .globl _start
_start:
    call begin                  # the shortest way to the address of what follows: 5 bytes
    .org START                  # refuses to go back, if the number above is too small

    .section .text.entry, "ax", @progbits
    .globl entry
entry:
    call shut_down
    .ascii "Shutting down, got signal:"
    .byte 37                    # bytes of the line with this end
    .ascii " Interrupt\n"
    .byte 38
    .ascii " Terminated\n"
    .org VERSION - HEADERS - START
    .ascii "pause 0.1.0\n"
    .ascii "Warning: pause should be the first process\n"
