/// Completion scripts as real shells accepted and used them.
enum GoldenScripts {
    static let zsh = #"""
        #compdef tool
        # zsh completion for tool
        # Load it: source <(tool completion zsh)

        _tool() {
            local curcontext=$curcontext state line
            local -a commands
            _arguments -C -s -S \
                '(--state-dir)--state-dir=[what survives a restart]:DIR:_files -/' \
                '1: :->command' \
                '*:: :->arguments'
            case $state in
                command)
                    commands=(
                        'send:send [it]: it'\''s done'
                        'tx:send [it]: it'\''s done'
                        'node:nodes'
                    )
                    _describe -t commands command commands
                    ;;
                arguments)
                    case $line[1] in
                        send|tx) _tool_send ;;
                        node) _tool_node ;;
                    esac
                    ;;
            esac
        }

        _tool_send() {
            _arguments -s -S \
                '*--peer=[a peer]:ADDR:' \
                '*-p+[a peer]:ADDR:' \
                '(--colour --no-colour)--colour[use colours]' \
                '(--colour --no-colour)--no-colour[use colours]' \
                '(--mode)--mode=[how]:MODE:(fast slow)' \
                '(--state-dir)--state-dir=[what survives a restart]:DIR:_files -/' \
                '1:NODE:' \
                '2::ROLE:(a b)'
        }

        _tool_node() {
            local curcontext=$curcontext state line
            local -a commands
            _arguments -C -s -S \
                '(--state-dir)--state-dir=[what survives a restart]:DIR:_files -/' \
                '1: :->command' \
                '*:: :->arguments'
            case $state in
                command)
                    commands=(
                        'exec:run a program'
                    )
                    _describe -t commands command commands
                    ;;
                arguments)
                    case $line[1] in
                        exec) _tool_node_exec ;;
                    esac
                    ;;
            esac
        }

        _tool_node_exec() {
            _arguments -s -S \
                '(--state-dir)--state-dir=[what survives a restart]:DIR:_files -/' \
                '1:NODE:' \
                '*::PROGRAM:_normal'
        }

        if [[ $funcstack[1] == _tool ]]; then
            _tool "$@"
        else
            compdef _tool tool
        fi

        """#

    static let fish = #"""
        # fish completion for tool
        # Load it: tool completion fish | source

        function __tool_at --description 'Succeeds when the words so far lead to a command'
            set -l at tool
            set -l skip 0
            set -l words (commandline -opc)
            for word in $words[2..-1]
                if test $skip = 1
                    set skip 0
                    continue
                end
                switch "$at $word"
                    case 'tool --state-dir'
                        set skip 1
                    case 'tool send' 'tool tx'
                        set at 'tool send'
                    case 'tool node'
                        set at 'tool node'
                    case 'tool send --peer' 'tool send -p' 'tool send --mode' 'tool send --state-dir'
                        set skip 1
                    case 'tool node --state-dir'
                        set skip 1
                    case 'tool node exec'
                        set at 'tool node exec'
                    case 'tool node exec --state-dir'
                        set skip 1
                    case '* --'
                        return 1
                end
            end
            test "$at" = "$argv[1]"
        end

        complete -c tool -f
        complete -c tool -n '__tool_at "tool"' -a send -d 'send [it]: it\'s done'
        complete -c tool -n '__tool_at "tool"' -a node -d 'nodes'
        complete -c tool -n '__tool_at "tool"' -l state-dir -x -a '(__fish_complete_directories)' -d 'what survives a restart'
        complete -c tool -n '__tool_at "tool send"' -a 'a b' -d 'a role'
        complete -c tool -n '__tool_at "tool send"' -l peer -s p -x -d 'a peer'
        complete -c tool -n '__tool_at "tool send"' -l colour -d 'use colours'
        complete -c tool -n '__tool_at "tool send"' -l no-colour -d 'use colours'
        complete -c tool -n '__tool_at "tool send"' -l mode -x -a 'fast slow' -d 'how'
        complete -c tool -n '__tool_at "tool send"' -l state-dir -x -a '(__fish_complete_directories)' -d 'what survives a restart'
        complete -c tool -n '__tool_at "tool node"' -a exec -d 'run a program'
        complete -c tool -n '__tool_at "tool node"' -l state-dir -x -a '(__fish_complete_directories)' -d 'what survives a restart'
        complete -c tool -n '__tool_at "tool node exec"' -l state-dir -x -a '(__fish_complete_directories)' -d 'what survives a restart'

        """#
}
