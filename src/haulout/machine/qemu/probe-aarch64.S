// Source of BOOT_CODE in accel.py: aarch64-linux-gnu-as probe-aarch64.S -o probe.o && aarch64-linux-gnu-objcopy -O binary probe.o probe.bin
// For the board "virt": paging, SIMD, an exclusive pair, the timer and an exception; then "ok" on the serial port, and off by PSCI.
.equ base, 0x40100000           // of the exception vectors; this is loaded, and entered, at its synchronous one, 0x200 further
.equ tables, 0x40200000
    cmp x9, #42
    b.eq arrived
    ldr x1, =tables
    ldr x2, =0x0060000000000405 // the first gigabyte: devices (attribute 1), not executable
    ldr x3, =0x0000000040000701 // the second: memory (attribute 0), inner shareable
    stp x2, x3, [x1]
    dsb sy
    mov x2, #0xff
    msr mair_el1, x2
    ldr x2, =0x0000000080803519 // 39 bits, 4 KiB, write-back, inner shareable
    msr tcr_el1, x2
    msr ttbr0_el1, x1
    isb
    tlbi vmalle1
    dsb sy
    mrs x2, sctlr_el1
    mov x3, #0x1005             // paging, data and instruction caches
    orr x2, x2, x3
    msr sctlr_el1, x2
    isb
    mov x2, #(3 << 20)          // SIMD is allowed
    msr cpacr_el1, x2
    ldr x2, =base
    msr vbar_el1, x2
    isb
    movi v0.2d, #0
    add v0.2d, v0.2d, v0.2d
    mrs x4, cntvct_el0
    add x6, x1, #0x1000
again:
    ldaxr x7, [x6]
    stlxr w8, x7, [x6]
    cbnz w8, again
    mov x9, #42
    svc #0
hang:
    wfi
    b hang
arrived:
    ldr x1, =0x09000000
    mov w2, #'o'
    str w2, [x1]
    mov w2, #'k'
    str w2, [x1]
    ldr x0, =0x84000008         // SYSTEM_OFF
    hvc #0
    b hang
