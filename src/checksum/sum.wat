;; RFC 1071 sums over this module's own memory, 16 bytes at a time.
;; Built into sum-wasm.ts by scripts/build-wasm.mjs.
(module
  ;; 16 pages (1 MiB), and never more: growing would detach every view of it.
  ;; Pages that nobody touches cost nothing. The bound also keeps the 32-bit
  ;; lanes below from overflowing: 1 MiB is 2^14 rounds of at most 2 * 0xffff.
  (memory (export "memory") 16 16)

  ;; The folded sum, 0 to 0xffff, of the big-endian 16-bit words of [at, end).
  ;; An odd last byte is the high half of a word.
  ;;
  ;; Words are loaded little-endian and the result is swapped once at the end
  ;; (RFC 1071 section 2 (B)). No alignment is needed.
  (func (export "sum") (param $at i32) (param $end i32) (result i32)
    (local $a v128) (local $b v128) (local $c v128) (local $d v128)
    (local $total i64)

    ;; 64 bytes a round, in four sums that do not wait for each other. Each
    ;; 32-bit lane adds a pair of 16-bit words.
    (block $done64
      (loop $next64
        (br_if $done64 (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 64)))
        (local.set $a (i32x4.add (local.get $a)
          (i32x4.extadd_pairwise_i16x8_u (v128.load (local.get $at)))))
        (local.set $b (i32x4.add (local.get $b)
          (i32x4.extadd_pairwise_i16x8_u (v128.load offset=16 (local.get $at)))))
        (local.set $c (i32x4.add (local.get $c)
          (i32x4.extadd_pairwise_i16x8_u (v128.load offset=32 (local.get $at)))))
        (local.set $d (i32x4.add (local.get $d)
          (i32x4.extadd_pairwise_i16x8_u (v128.load offset=48 (local.get $at)))))
        (local.set $at (i32.add (local.get $at) (i32.const 64)))
        (br $next64)))

    ;; The four sums as 64-bit lanes, then as one number.
    (local.set $a (i64x2.add
      (i64x2.add
        (i64x2.add (i64x2.extend_low_i32x4_u (local.get $a)) (i64x2.extend_high_i32x4_u (local.get $a)))
        (i64x2.add (i64x2.extend_low_i32x4_u (local.get $b)) (i64x2.extend_high_i32x4_u (local.get $b))))
      (i64x2.add
        (i64x2.add (i64x2.extend_low_i32x4_u (local.get $c)) (i64x2.extend_high_i32x4_u (local.get $c)))
        (i64x2.add (i64x2.extend_low_i32x4_u (local.get $d)) (i64x2.extend_high_i32x4_u (local.get $d))))))
    (local.set $total (i64.add
      (i64x2.extract_lane 0 (local.get $a))
      (i64x2.extract_lane 1 (local.get $a))))

    ;; What is left, less than 64 bytes: 32-bit words count as well, since
    ;; 2^16 = 1 in one's complement arithmetic.
    (block $done4
      (loop $next4
        (br_if $done4 (i32.lt_u (i32.sub (local.get $end) (local.get $at)) (i32.const 4)))
        (local.set $total (i64.add (local.get $total) (i64.load32_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))
        (br $next4)))
    (if (i32.and (i32.sub (local.get $end) (local.get $at)) (i32.const 2))
      (then
        (local.set $total (i64.add (local.get $total) (i64.load16_u (local.get $at))))
        (local.set $at (i32.add (local.get $at) (i32.const 2)))))
    (if (i32.lt_u (local.get $at) (local.get $end))
      (then
        (local.set $total (i64.add (local.get $total) (i64.load8_u (local.get $at))))))

    ;; 64 bits to 16: the total is below 2^40, so these folds are enough, and
    ;; a sum that is not zero never becomes zero.
    (local.set $total (i64.add
      (i64.and (local.get $total) (i64.const 0xffffffff))
      (i64.shr_u (local.get $total) (i64.const 32))))
    (local.set $total (i64.add
      (i64.and (local.get $total) (i64.const 0xffff))
      (i64.shr_u (local.get $total) (i64.const 16))))
    (local.set $total (i64.add
      (i64.and (local.get $total) (i64.const 0xffff))
      (i64.shr_u (local.get $total) (i64.const 16))))
    (local.set $total (i64.add
      (i64.and (local.get $total) (i64.const 0xffff))
      (i64.shr_u (local.get $total) (i64.const 16))))
    (local.set $end (i32.wrap_i64 (local.get $total)))
    (i32.or
      (i32.shr_u (local.get $end) (i32.const 8))
      (i32.and (i32.shl (local.get $end) (i32.const 8)) (i32.const 0xff00)))))
