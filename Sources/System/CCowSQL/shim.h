#pragma once
#include <cowsql.h>
