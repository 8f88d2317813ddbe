# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# Names every field of a .proto that is neither a number, a text, bytes nor an
# enum: protobuf-c decodes messages in messages without a limit of depth.
{ sub(/\/\/.*/, "") }
/^ *enum / { enums[$2] = 1 }
/=[ ]*[0-9]+/ && !/^ *(syntax|option)/ {
	type = $1 == "repeated" || $1 == "optional" ? $2 : $1
	if (!inside_enum)
		field[FNR] = type
}
/^ *enum .*\{/ { inside_enum = 1 }
/\}/ { inside_enum = 0 }
END {
	scalar = "^(double|float|u?int(32|64)|sint(32|64)|s?fixed(32|64)|bool|string|bytes)$"
	for (line in field)
		if (field[line] !~ scalar && !(field[line] in enums)) {
			print FILENAME ":" line ": " field[line] ": the schema is flat"
			bad = 1
		}
	exit bad
}
