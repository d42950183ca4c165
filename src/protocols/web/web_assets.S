/* The browser UI, compressed, as scripts/web.sh leaves it: a table of struct web_asset (web_assets.h). */
    .macro ASSET number, name, type
    .section .rodata.web_data, "a", @progbits
    .balign 16
data\number:
    .incbin "asset\number\().gz"
end\number:
    .section .rodata.web_text, "aMS", @progbits, 1
name\number:
    .asciz "\name"
type\number:
    .asciz "\type"
    .section .data.rel.ro.web_assets, "aw", @progbits
    .quad name\number
    .quad type\number
    .quad data\number
    .quad end\number - data\number
    .endm
/* The name of the script of pages that show a command (web_assets.h). */
    .macro COPY_SCRIPT name
    .section .rodata.web_text, "aMS", @progbits, 1
    .globl web_copy_script
    .hidden web_copy_script
web_copy_script:
    .asciz "\name"
    .endm

    .section .data.rel.ro.web_assets, "aw", @progbits
    .balign 8
    .globl web_asset_table
    .hidden web_asset_table
web_asset_table:
    .include "web_assets.inc"
    .section .data.rel.ro.web_assets, "aw", @progbits
    .quad 0, 0, 0, 0
/* The script that joins a server, as text (web_join.c). */
    .section .rodata.web_script, "a", @progbits
    .balign 8
    .globl web_install_script_size
    .hidden web_install_script_size
web_install_script_size:
    .quad script_end - web_install_script
    .globl web_install_script
    .hidden web_install_script
web_install_script:
    .incbin "install-node.sh"
script_end:
    .section .note.GNU-stack, "", @progbits
