-- A journal as this version has written it: see spec/durable/kept.lua. Values are CBOR, in hexadecimal.

return {
  class = "undone", seed = "02350a0c9c2ee5dcc76945acda56a056", next = 32, created = 1000000000.0, cancel = 2,
  entries = {
    { attempt = 0, closed = 1000000000.0, done = 2, kind = "patch", name = "a guard", nth = 1,
      opened = 1000000000.0, seq = 1, state = "ok" },
    { attempt = 0, closed = 1000000000.0, done = 4, kind = "step", name = "reserve", nth = 1,
      opened = 1000000000.0, seq = 3, state = "ok", value = "816573746f636b" },
    { attempt = 1, closed = 1000000000.0, done = 6, kind = "step", name = "charge", nth = 1,
      opened = 1000000000.0, seq = 5, state = "failed",
      value = "a363726177f565747261636579012d737461636b2074726163656261636b3a0a095b435d3a20696e2066756e6374696f6e20\z
      276572726f72270a09737065632f64757261626c652f6b6570742e6c75613a38393a20696e206c6f63616c2027666e270a09\z
      2e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c75613a3134323a20696e2066756e6374696f6e20\z
      3c2e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c75613a3134313e0a095b435d3a20696e206675\z
      6e6374696f6e2027787063616c6c270a092e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c75613a\z
      3135313a20696e2066756e6374696f6e203c2e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c7561\z
      3a3134363e0a095b435d3a20696e203f6576616c7565686465636c696e6564" },
    { attempt = 0, closed = 1000000010.0, done = 9, kind = "timer", name = "with_timeout", nth = 1,
      opened = 1000000000.0, seq = 7, state = "ok" },
    { attempt = 0, closed = 1000000010.0, done = 10, kind = "event", name = "never", nth = 1,
      opened = 1000000000.0, seq = 8, state = "cancelled" },
    { attempt = 0, closed = 1000000010.0, done = 12, kind = "timer", name = "timer", nth = 1,
      opened = 1000000010.0, seq = 11, state = "cancelled" },
    { attempt = 0, closed = 1000000010.0, done = 14, kind = "event", name = "go", nth = 1,
      opened = 1000000010.0, seq = 13, state = "ok", value = "8182616101" },
    { attempt = 0, closed = 1000000010.0, done = 16, kind = "tx", name = "book", nth = 1,
      opened = 1000000010.0, seq = 15, state = "ok", value = "81182a" },
    { attempt = 0, closed = 1000000010.0, done = 20, kind = "timer", name = "sleep", nth = 1,
      opened = 1000000010.0, path = "/go#1", seq = 17, state = "cancelled" },
    { attempt = 0, closed = 1000000010.0, done = 19, kind = "cancel", name = "abort", nth = 1,
      opened = 1000000010.0, seq = 18, state = "ok",
      value = "a465636c6173736e43616e63656c6c65644572726f7265747261636560666669656c6473a166726561736f6e706974206973\z
      206e6f742077616e746564676d657373616765781961626f727465643a206974206973206e6f742077616e746564" },
    { attempt = 0, closed = 1000000010.0, done = 22, kind = "step", name = "cleaned", nth = 1,
      opened = 1000000010.0, seq = 21, state = "ok", value = "80" },
    { attempt = 0, closed = 1000000020.0, done = 24, kind = "timer", name = "sleep", nth = 1,
      opened = 1000000010.0, path = "/~compensate#1", seq = 23, state = "ok" },
    { attempt = 0, closed = 1000000020.0, done = 26, kind = "step", name = "by code", nth = 1,
      opened = 1000000020.0, path = "/~compensate#1", seq = 25, state = "ok", value = "80" },
    { attempt = 0, closed = 1000000020.0, done = 28, kind = "step", name = "letter", nth = 1,
      opened = 1000000020.0, path = "/~compensate#1", seq = 27, state = "ok", value = "80" },
    { attempt = 0, closed = 1000000020.0, done = 30, kind = "step", name = "charge", nth = 1,
      opened = 1000000020.0, path = "/~compensate#1", seq = 29, state = "ok", value = "8166756e646f6e65" },
    { attempt = 1, due = 1000000620.0, kind = "step", name = "reserve", nth = 1, opened = 1000000020.0,
      path = "/~compensate#1", seq = 31, state = "again",
      value = "a363726177f565747261636579012d737461636b2074726163656261636b3a0a095b435d3a20696e2066756e6374696f6e20\z
      276572726f72270a09737065632f64757261626c652f6b6570742e6c75613a37303a20696e206c6f63616c2027666e270a09\z
      2e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c75613a3134323a20696e2066756e6374696f6e20\z
      3c2e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c75613a3134313e0a095b435d3a20696e206675\z
      6e6374696f6e2027787063616c6c270a092e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c75613a\z
      3135313a20696e2066756e6374696f6e203c2e2f6c75612f706970656c696e652f64757261626c652f73746570732e6c7561\z
      3a3134363e0a095b435d3a20696e203f6576616c7565777468652077617265686f75736520697320636c6f736564" },
  },
  output = "aborted: it is not wanted; undone: stock true stock; {is_new=true,n=42,reason=it is not wanted,sign\z
    al={1=a,2=1},was_new=true}",
}
