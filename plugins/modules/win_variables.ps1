#!powershell

# Copyright: connsec.tls contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Shows the variables of a Windows host and of its services, and carries out what the controller decided.
#
# Written for Windows PowerShell 5.1 on .NET Framework 4.6.1 or later, which Windows Server 2016 and later bring along.
# Our tests run this text itself on a modelled Windows, so it keeps to what is modelled there (docs/windows_twin.md).

#AnsibleRequires -CSharpUtil Ansible.Basic
#AnsibleRequires -PowerShell ..module_utils.WindowsServices
#AnsibleRequires -PowerShell ..module_utils.WindowsVariables

$spec = @{
    options = @{
        orders = @{
            type = "list"
            elements = "dict"
            default = @()
            options = @{
                action = @{ type = "str"; required = $true; choices = @("machine", "note", "service") }
                lines = @{ type = "list"; elements = "str" }
                name = @{ type = "str" }
                note = @{ type = "list"; elements = "str" }
                service = @{ type = "str" }
                value = @{ type = "str" }
            }
        }
        services = @{ type = "list"; elements = "str"; default = @() }
    }
    supports_check_mode = $true
}

$module = [Ansible.Basic.AnsibleModule]::Create($args, $spec)

function Invoke-Order {
    param([System.Collections.IDictionary]$Order)
    switch ($Order.action) {
        "machine" { Set-MachineVariable -Name $Order.name -Value $Order.value }
        "note" { Set-VariableNote -Service $Order.service -Name $Order.name -Note $Order.note }
        "service" { Set-ServiceVariable -Service $Order.service -Lines $Order.lines }
    }
}

$module.Result.changed = $module.Params.orders.Count -gt 0
if (-not $module.CheckMode) {
    foreach ($order in $module.Params.orders) {
        Invoke-Order -Order $order
    }
}
$module.Result.state = @{
    processes = @(Get-ProcessRow)
    services = (Get-ServiceRow -Service $module.Params.services)
    variables = (Get-MachineVariable)
}
$module.ExitJson()
