# Reads counts of lines in the form of lcov and prints those of the guest, without its tests: a table, and every line
# that is not reached. A comment that begins with "No test reaches" explains the lines behind it, up to the end of
# their block or the next empty line.

/^SF:/ {
    file = match($0, /guest\/src\/.*/) ? substr($0, RSTART) : ""
    # The last is the tests' own reader, which the guest's tests borrow.
    if (file ~ /\/(model|tests)\.rs$/ || file ~ /\.\./) file = ""
    if (file != "") read_source()
}

file != "" && /^DA:/ {
    split(substr($0, 4), counted, ",")
    number = counted[1] + 0
    if (number >= tests_begin) next
    lines++
    if (counted[2] + 0 > 0) next
    missed++
    if (number in explained) note = "explained"
    else { note = "NOT EXPLAINED"; unexplained++ }
    list = list sprintf("%s:%d: %s  (%s)\n", file, number, text[number], note)
}

file != "" && /^end_of_record/ && lines > 0 {
    table(substr(file, length("guest/src/") + 1), lines, missed)
    all_lines += lines
    all_missed += missed
    lines = missed = 0
}

END {
    if (all_lines == 0) {
        print "make coverage: nothing was counted in guest/src" > "/dev/stderr"
        exit 1
    }
    table("all", all_lines, all_missed)
    print "component.rs and wasi.rs are not in it: they are compiled for WebAssembly alone."
    if (list != "") printf "\nnot reached:\n%s", list
    if (unexplained > 0) {
        print "make coverage: " unexplained " lines are neither reached nor explained beside them" > "/dev/stderr"
        exit 1
    }
}

function table(name, count, without) {
    if (!headed++) printf "\n%-26s %6s %8s\n", "guest/src", "lines", "reached"
    printf "%-26s %6d %7.1f%%\n", name, count, 100 * (count - without) / count
}

function read_source(    line, number, is_explained) {
    delete text
    delete explained
    tests_begin = 1e9
    while ((getline line < file) > 0) {
        number++
        if (line ~ /^#\[cfg\(test\)\]/) { tests_begin = number; break }
        if (line ~ /\/\/ No test reaches/) is_explained = 1
        if (line ~ /^ *$/ || line ~ /^ *}[;,)]*$/) is_explained = 0
        if (is_explained) explained[number] = 1
        sub(/^ */, "", line)
        text[number] = line
    }
    close(file)
}
