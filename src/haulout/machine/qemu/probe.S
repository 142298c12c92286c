# Source of BOOT_SECTOR in accel.py: as --64 probe.S -o probe.o && ld -Ttext 0x7c00 --oformat binary -e _start probe.o -o probe.bin
# A boot sector: real mode, then long mode with paging; CPUID, lock cmpxchg16b, SSE2, RDTSC; then exit code 0x10 by isa-debug-exit.
.code16
.globl _start
_start:
    cli
    cld
    xorw %ax,%ax
    movw %ax,%ds
    movw %ax,%es
    movw %ax,%ss
    movw $0x7c00,%sp
    # page tables at 0x1000..0x3fff
    movw $0x1000,%di
    movw $0x1800,%cx
    rep stosw
    movw $0x2003,0x1000
    movw $0x3003,0x2000
    movw $0x83,0x3000
    lgdt gdtr
    movl $0x6a0,%eax        # PAE, OSFXSR, OSXMMEXCPT, PGE
    movl %eax,%cr4
    movl $0x1000,%eax
    movl %eax,%cr3
    movl $0xc0000080,%ecx
    rdmsr
    orl $0x901,%eax         # LME, SCE, NXE
    wrmsr
    movl $0x80050033,%eax   # PG AM WP NE ET MP PE
    movl %eax,%cr0
    ljmp $8,$long
.code64
long:
    movw $16,%ax
    movw %ax,%ds
    movw %ax,%es
    movw %ax,%ss
    xorl %eax,%eax
    cpuid
    xorl %eax,%eax
    xorl %edx,%edx
    movl $1,%ebx
    xorl %ecx,%ecx
    movl $0x5000,%edi
    movq %rax,(%rdi)
    movq %rax,8(%rdi)
    lock cmpxchg16b (%rdi)
    jnz fail
    movaps (%rdi),%xmm0
    paddq %xmm0,%xmm0
    movq %xmm0,%rax
    cmpq $2,%rax
    jne fail
    rdtsc
    # IDT with a timer-less software interrupt
    movl $0x6000,%edi
    leaq handler(%rip),%rax
    movw %ax,(%rdi)
    movw $8,2(%rdi)
    movw $0x8e00,4(%rdi)
    xorl %eax,%eax
    movw %ax,6(%rdi)
    movq %rax,8(%rdi)
    lidt idtr
    ud2
    nop
fail:
    hlt
    jmp fail
handler:
    # An invalid opcode arrived: gate 6 is at 0x6000
    movw $0x501,%dx
    movb $0x10,%al
    outb %al,%dx
    jmp fail
.balign 4
gdt: .quad 0, 0x00209a0000000000, 0x0000920000000000
gdtr: .word 23
      .long gdt
idtr: .word 0x6f
      .quad 0x6000-6*16
