--- aborts.lua: runs that are aborted at any moment, and whose process dies at any moment after that.
--
-- A run of a generated body is aborted once, at a chosen event of its life (see lives.lua); and then lives are begun
-- with what a process leaves behind that dies at one of the events after that. Whoever has aborted it was told so, and
-- does not do it again. Or the process dies first, and the abort comes before or soon after another one has begun. What
-- must hold of every one of these lives:
--   * the run ends ABORTED, with the reason that was given, or with its own error if that was first; or it has returned
--     before, and the abort was refused;
--   * what was done, and can be undone, is undone, and nothing else; what was done later in a branch is undone first;
--   * no effect, of a compensation neither, is had more than once more for each crash.

local bodies = require "spec.explore.bodies"
local lives = require "spec.explore.lives"

local aborts = {}

-- What is said of an effect: "do" or "undo", its label, and where that is: the era, or the branch; nil: it cannot be
-- undone. What is compensated by code of the body has another path, but one label.
local function parse(effect)
  local verb, label, path = effect:match("^(%l+do) (%w+) (.*)$")
  if not verb then verb, label, path = effect:match("^(do) (%w+) (.*)$") end
  if not verb then return nil end
  return verb, label, path:match("~(%d+)/") or "0", path
end

-- Where each was had first: { ["do"] = { label -> place }, undo = ... }, and of what was done the branch and the era;
-- of what was undone the time of compensating that it belongs to.
local function first_places(effects)
  local found = { ["do"] = {}, undo = {}, era = {}, branch = {}, time = {} }
  for i, effect in ipairs(effects) do
    local verb, label, era, path = parse(effect)
    if verb and not found[verb][label] then
      found[verb][label] = i
      if verb == "do" then
        found.era[label], found.branch[label] = era, path:match("^(.*)/[^/]*$")
      else
        found.time[label] = path:match("~compensate#%d+")
      end
    end
  end
  return found
end

-- Those of the main run are numbers; those of children, which are never forgotten, end in p.
local function is_to_be_undone(found, label, life)
  return label:find("p$") or found.era[label] == tostring(life.era)
end

--- What is wrong with what was done and undone in a life; is_over: all that can be undone has to be.
function aborts.difference(life, is_over)
  local found = first_places(life.effects)
  for label, place in pairs(found["do"]) do
    local undone = found.undo[label]
    if is_over and not undone and is_to_be_undone(found, label, life) then return label .. " was never undone" end
    if undone and undone < place then return label .. " was undone before it was done" end
  end
  for label, place in pairs(found["do"]) do
    for other, later in pairs(found["do"]) do
      local a, b = found.undo[label], found.undo[other]
      local is_in_order = label:find("p$") or later <= place -- children are none of a row
      if not is_in_order and a and b and found.branch[label] == found.branch[other]
        and found.time[label] == found.time[other] and a < b then
        return ("%s was undone before %s, which was done after it"):format(label, other)
      end
    end
  end
end

local function count_of(effects)
  local most, of = 0, nil
  local counts = {}
  for _, effect in ipairs(effects) do
    counts[effect] = (counts[effect] or 0) + 1
    if counts[effect] > most then most, of = counts[effect], effect end
  end
  return most, of
end

-- What is wrong with a life that was aborted.
local function wrong(life, body, crashes)
  if life.problems[1] then return "the store is not right: " .. tostring(life.problems[1].text or life.problems[1]) end
  local is_aborted = life.output == "aborted: " .. lives.REASON or body.fate == "fails" and
    life.output == "aborted: nothing of it counts"
  if life.is_accepted and not is_aborted then return "the abort was accepted, and it ends with " .. life.output end
  if life.output:find("^no output") then return life.output end
  local most, effect = count_of(life.effects)
  if most > 1 + crashes then return ("effect %s was had %d times"):format(effect, most) end
  return aborts.difference(life, is_aborted)
end

--- Explores the body of a number: kills it at every `stride`-th event and aborts it then; and aborts it at every
-- `stride`-th event of its life, and lets its process die at every `stride_after`-th event behind that.
-- Returns how many lives that were; raises at the first difference.
function aborts.explore(directory, seed, stride, stride_after)
  local body, count = bodies.make(seed), 0
  local function try(where, crashes, copied, effects, given)
    collectgarbage()
    local life = lives.live(directory, body, copied, effects, crashes, given)
    count = count + 1
    local what = wrong(life, body, crashes)
    if what then
      error(("body %d, %s: %s\nbody: %s\neffects:\n  %s\nlog: %s"):format(seed, where, what, body.words,
        table.concat(life.effects, "\n  "), table.concat(life.log, "\n")), 0)
    end
    return life
  end
  local clean = lives.live(directory, body)
  for i = 1, #clean.copies, stride do
    local where = ("dead at copy %d of %d, then aborted at "):format(i, #clean.copies)
    for at = 0, 2, 2 do try(where .. at, 1, clean.copies[i], clean.effects, { abort_at = at }) end
  end
  for at = 1, clean.events, stride do
    local where = ("aborted at event %d of %d"):format(at, clean.events)
    local life = try(where, 0, nil, nil, { abort_at = at })
    for i = 1, life.is_accepted and #life.copies or 0, stride_after do
      if life.copies[i].is_accepted then
        local dead = ("%s, dead at copy %d of %d"):format(where, i, #life.copies)
        try(dead, 1, life.copies[i], life.effects, { is_accepted = true })
      end
    end
  end
  return count, body
end

return aborts
