-- A journal as this version has written it: see spec/durable/kept.lua. Values are CBOR, in hexadecimal.

return {
  class = "reached", seed = "6eba0b17c52a9c49953253d408a18c39", next = 19, created = 1000000000.0, cancel = 0,
  entries = {
    { attempt = 0, kind = "child", name = "kept.Outside", nth = 1, opened = 1000000000.0, ref = 4534273,
      seq = 1, state = "open", value = "82f6a266616e737765721a004530026764656661756c741a00453001" },
    { attempt = 0, closed = 1000000000.0, done = 13, kind = "event", name = "go", nth = 1,
      opened = 1000000000.0, seq = 2, state = "ok", value = "816477656e74" },
    { attempt = 0, closed = 1000000000.0, done = 4, kind = "signal", name = "note", nth = 1,
      opened = 1000000000.0, ref = 1, seq = 3, state = "ok", value = "8182616101" },
    { attempt = 0, closed = 1000000000.0, done = 6, kind = "step", name = "note", nth = 1,
      opened = 1000000000.0, path = "/signal:note#1", seq = 5, state = "ok", value = "81656e6f746564" },
    { attempt = 1, closed = 1000000000.0, done = 8, kind = "update", name = "add", nth = 1,
      opened = 1000000000.0, ref = 2, seq = 7, state = "ok", value = "8105" },
    { attempt = 0, closed = 1000000000.0, done = 10, kind = "step", name = "add", nth = 1,
      opened = 1000000000.0, path = "/update:add#1", seq = 9, state = "ok", value = "8105" },
    { attempt = 1, closed = 1000000000.0, done = 12, kind = "update", name = "bad", nth = 1,
      opened = 1000000000.0, ref = 4, seq = 11, state = "ok", value = "81f6" },
    { attempt = 0, kind = "slot", name = "kept.Outside#1.answer", nth = 1, opened = 1000000000.0,
      ref = 4534274, seq = 14, state = "open" },
    { attempt = 0, due = 1001000000.0, kind = "timer", name = "select", nth = 1, opened = 1000000000.0,
      seq = 15, state = "open" },
    { attempt = 0, closed = 1000000000.0, done = 17, kind = "update", name = "slow", nth = 1,
      opened = 1000000000.0, ref = 6, seq = 16, state = "ok", value = "8114" },
    { attempt = 0, due = 1000001000.0, kind = "timer", name = "sleep", nth = 1, opened = 1000000000.0,
      path = "/update:slow#1", seq = 18, state = "open" },
  },
  children = {
    { id = 4534273, class_path = "kept.Outside", flags = 9, outputs = {
      { name = "default", slot = 4534273 }, { name = "answer", slot = 4534274 },
    } },
  },
  output = "{1=a,2=1}|noted|went|{1=answer,2=from outside}|over|late|noted|125",
}
