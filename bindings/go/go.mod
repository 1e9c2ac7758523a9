module mustafar

go 1.19
