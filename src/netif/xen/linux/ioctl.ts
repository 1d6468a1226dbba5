/*
 * Requests of <xen/gntalloc.h>, <xen/gntdev.h> and <xen/evtchn.h>, as they are on
 * 64-bit machines. They are made without a direction (_IOC_NONE), unlike others.
 */

/** u16 domid · u16 flags · u32 count · u64 index @8 · u32 gref_ids[count] @16; answers index and references. */
export const GNTALLOC_ALLOC = 0x184705;
/** u64 index · u32 count @8. */
export const GNTALLOC_DEALLOC = 0x104706;
/** `flags`: the other domain may write. */
export const GNTALLOC_WRITABLE = 1;

/** u32 count · u64 index @8 · { u32 domid, u32 ref }[count] @16; answers the index. */
export const GNTDEV_MAP = 0x184700;
/** u64 index · u32 count @8. */
export const GNTDEV_UNMAP = 0x104701;
/** u32 count · pointer to segments @8. */
export const GNTDEV_GRANT_COPY = 0x104708;

/** u32 remote_domain · u32 remote_port; answers the local port. */
export const EVTCHN_BIND_INTERDOMAIN = 0x084501;
/** u32 remote_domain; answers the local port. */
export const EVTCHN_BIND_UNBOUND = 0x044502;
/** u32 port. */
export const EVTCHN_UNBIND = 0x044503;
/** u32 port. */
export const EVTCHN_NOTIFY = 0x044504;
