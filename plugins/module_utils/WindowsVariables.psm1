# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Variables of a Windows host in its registry, and our notes about them; private to this collection.
#
# The machine's variables are values of a key, with a kind each. Those of a service are lines of one value of its key.
# Notes lie in a key of ours: what each variable of ours is and was, and in its default value when we last changed one.

$machine = "SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
$services = "SYSTEM\CurrentControlSet\Services"
$notes = "SOFTWARE\connsec\environment"

function Open-Key {
    # A key of the local machine, or nothing where there is none.
    param([string]$Path, [bool]$Writable)
    $hive = [Microsoft.Win32.RegistryKey]::OpenBaseKey("LocalMachine", "Registry64")
    return $hive.OpenSubKey($Path, $Writable)
}

function Get-NotePath {
    # An empty name stands for the machine itself.
    param([string]$Service)
    if ($Service) {
        return $notes + "\services\" + $Service
    }
    return $notes + "\machine"
}

function Get-VariableNote {
    param([string]$Service)
    $found = @{ changed = $null; rows = @{} }
    $key = Open-Key -Path (Get-NotePath -Service $Service)
    if ($null -eq $key) {
        return $found
    }
    try {
        foreach ($name in $key.GetValueNames()) {
            if ($name) {
                $found.rows[$name] = @($key.GetValue($name))
            }
            else {
                $found.changed = $key.GetValue($name)
            }
        }
    }
    finally {
        $key.Dispose()
    }
    return $found
}

function Get-MachineVariable {
    # Values as they stand there, with what they refer to by name; the machine's own put in beside them.
    $rows = @{}
    $key = Open-Key -Path $machine
    try {
        foreach ($name in $key.GetValueNames()) {
            $rows[$name] = @{
                expanded = $key.GetValue($name)
                value = $key.GetValue($name, $null, "DoNotExpandEnvironmentNames")
            }
        }
    }
    finally {
        $key.Dispose()
    }
    return @{ notes = (Get-VariableNote -Service ""); rows = $rows }
}

function Get-ServiceVariable {
    # The lines of a service's own variables; nothing where there is no such service.
    param([string]$Service)
    $key = Open-Key -Path ($services + "\" + $Service)
    if ($null -eq $key) {
        return $null
    }
    try {
        $lines = $key.GetValue("Environment")
    }
    finally {
        $key.Dispose()
    }
    $found = @()
    if ($null -ne $lines) {
        $found = @($lines)
    }
    return @{ lines = $found; notes = (Get-VariableNote -Service $Service) }
}

function Set-MachineVariable {
    # A variable keeps the kind that it has; a new one is text. Nothing in Value takes it out.
    param([string]$Name, [object]$Value)
    $key = Open-Key -Path $machine -Writable $true
    try {
        if ($null -eq $Value) {
            $key.DeleteValue($Name, $false)
        }
        elseif ($null -eq $key.GetValue($Name)) {
            $key.SetValue($Name, [string]$Value, "String")
        }
        else {
            $key.SetValue($Name, [string]$Value, $key.GetValueKind($Name))
        }
    }
    finally {
        $key.Dispose()
    }
}

function Set-ServiceVariable {
    # All lines of a service's own variables; without any the value goes.
    param([string]$Service, [object]$Lines)
    $key = Open-Key -Path ($services + "\" + $Service) -Writable $true
    if ($null -eq $key) {
        throw "there is no service $Service any more"
    }
    try {
        if ($null -eq $Lines) {
            $key.DeleteValue("Environment", $false)
        }
        else {
            $key.SetValue("Environment", [string[]]@($Lines), "MultiString")
        }
    }
    finally {
        $key.Dispose()
    }
}

function Set-VariableNote {
    # The default value has the moment, in milliseconds since 1970. With the last note the key goes, and keys above that
    # are empty go as well.
    param([string]$Service, [string]$Name, [object]$Note)
    $path = Get-NotePath -Service $Service
    $hive = [Microsoft.Win32.RegistryKey]::OpenBaseKey("LocalMachine", "Registry64")
    $key = $hive.CreateSubKey($path)
    try {
        if ($null -eq $Note) {
            $key.DeleteValue($Name, $false)
        }
        else {
            $key.SetValue($Name, [string[]]@($Note), "MultiString")
        }
        $now = [System.DateTimeOffset]::new([System.DateTime]::UtcNow).ToUnixTimeMilliseconds()
        $key.SetValue("", [string]$now, "String")
        $left = $key.ValueCount
    }
    finally {
        $key.Dispose()
    }
    if ($left -eq 1) {
        $hive.DeleteSubKey($path)
        Clear-EmptyKey -Hive $hive
    }
}

function Clear-EmptyKey {
    param([Microsoft.Win32.RegistryKey]$Hive)
    foreach ($path in ($notes + "\services"), $notes, "SOFTWARE\connsec") {
        $key = $Hive.OpenSubKey($path)
        if ($null -eq $key) {
            continue
        }
        $left = $key.SubKeyCount + $key.ValueCount
        $key.Dispose()
        if ($left -eq 0) {
            $Hive.DeleteSubKey($path)
        }
    }
}

$exported = @(
    "Get-MachineVariable",
    "Get-ServiceVariable",
    "Set-MachineVariable",
    "Set-ServiceVariable",
    "Set-VariableNote"
)
Export-ModuleMember -Function $exported
