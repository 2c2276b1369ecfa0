--- about.lua: the commands about the command itself: version, completion, help.

local failure = require "pipeline.command.failure"
local manual = require "pipeline.command.manual"
local pipeline = require "pipeline"

local commands = {}

commands[#commands + 1] = {
  name = "version", summary = "says which version this is",
  run = function(call)
    call.out:json { version = pipeline.version, lua = _VERSION:match("%d.*") }
    call.out:line("pipeline " .. pipeline.version)
  end,
}

commands[#commands + 1] = {
  name = "completion", summary = "prints what makes a shell complete commands and options",
  details = "For bash: source <(pipeline completion bash). For zsh: pipeline completion zsh >_pipeline, in a directory "
    .. "of $fpath. For fish: pipeline completion fish | source.",
  arguments = { { name = "shell", sign = "SHELL", choices = { "bash", "zsh", "fish" }, help = "bash, zsh or fish" } },
  run = function(call)
    local parser = call.grammar.parser()
    call.out:write(parser["get_" .. call.given.shell .. "_complete"](parser))
  end,
}

commands[#commands + 1] = {
  name = "help", summary = "says what the commands are, or how one is used",
  arguments = { { name = "topic", sign = "COMMAND", many = "?", help = "the command" } },
  options = { { "--man", help = "the manual page, as troff" } },
  run = function(call)
    if call.given.man then
      call.out:write(manual.page(call.grammar.groups(), call.grammar.globals))
      return
    end
    local topic = call.given.topic
    if not topic then return manual.overview(call.out, call.grammar.groups(), call.grammar.globals) end
    local command, names = call.grammar.find(topic)
    if not command then failure.unknown("command", topic, names, "see 'pipeline help'") end
    manual.of(call.out, command, call.grammar.globals)
  end,
}

return commands
