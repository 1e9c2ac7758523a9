module mustafarclient

go 1.19
